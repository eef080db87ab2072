#!/bin/busybox sh
# First program of the guest: loads the drivers of its disks, mounts them, hands over to guest.sh.
# A failure here ends in a kernel panic (init returned), which the host reports.
set -e
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module"
done </modules/order

# The base image is writable: qemu keeps what is written in a temporary overlay of its own.
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
/bin/busybox mount -t ext4 -o noatime /dev/vdb /root/payload
/bin/busybox umount /dev
exec /bin/busybox switch_root /root /payload/guest.sh
