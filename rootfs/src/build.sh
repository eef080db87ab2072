#!/bin/bash
# Builds one stack. Runs as root as the first process of its own mount and pid namespaces: whatever ends it, the
# tmpfs and every process of the build end with it, and the host's mount table never changes.
#
# Reads its parameters from the environment:
#   WORK       directory of this build; holds sources.list, stack-sources.list, apt.conf, stack-apt.conf, checks
#   SUITE VARIANT PACKAGES
#   TMPFS_MIB  size of the tmpfs for the tree; 0 builds on the disk
# Leaves $WORK/image.erofs and $WORK/packages.tsv. Lines that begin with "phase: " are for the caller.
set -euo pipefail
umask 022
root=$WORK/tree
mkdir -p "$root"

echo "phase: prepare"
if [ "$TMPFS_MIB" -gt 0 ]; then
    mount -t tmpfs -o "size=${TMPFS_MIB}m,mode=0755" cupola-stack "$root"
fi
root=$root/root

echo "phase: packages"
# shellcheck disable=SC2016  # mmdebstrap's own shell expands $1: the tree
# man1 must exist, or the JRE's postinst fails at its alternatives; what is excluded is nothing a program reads.
mmdebstrap --mode=root --format=directory --variant="$VARIANT" --include="$PACKAGES" \
    --aptopt="$WORK/apt.conf" \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --essential-hook='mkdir -p "$1/usr/share/man/man1"' \
    "$SUITE" "$root" "$WORK/sources.list"

echo "phase: customise"
dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package}\t${Version}\t${Architecture}\n' > "$WORK/packages.tsv"
# The user that apps run as; warden maps it into the container's own range of ids.
echo 'vcap:x:1000:1000::/home/vcap:/bin/bash' >> "$root/etc/passwd"
echo 'vcap:x:1000:' >> "$root/etc/group"
if [ -e "$root/etc/shadow" ]; then echo 'vcap:*:19000:0:99999:7:::' >> "$root/etc/shadow"; fi
install -d -m 0755 -o 1000 -g 1000 "$root/home/vcap" "$root/home/vcap/app"
# Classic buildpacks write to /app.
ln -s /home/vcap/app "$root/app"
# Nothing of the host stays: neither its names and resolvers nor its way to the archive.
rm -f "$root"/etc/apt/sources.list.d/* "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/resolv.conf"
if [ -d "$root/etc/apt" ]; then
    install -m 0644 "$WORK/stack-sources.list" "$root/etc/apt/sources.list"
    install -m 0644 "$WORK/stack-apt.conf" "$root/etc/apt/apt.conf.d/90cupola"
fi
# Launchers set LANG=en_US.UTF-8, as the historic stack has it. C.UTF-8 under that name does for what apps need, and
# is there already.
if [ -d "$root/usr/lib/locale/C.utf8" ]; then ln -s C.utf8 "$root/usr/lib/locale/en_US.utf8"; fi
echo localhost > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n' > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
find "$root/var/log" "$root/var/cache" "$root/var/lib/apt/lists" -type f -delete 2>/dev/null || true
rm -rf "${root:?}"/dev/* "${root:?}"/run/* "${root:?}"/tmp/* "${root:?}/var/www/html"
# Containers are mounted nosuid; without the bits nobody has to rely on it.
find "$root" -xdev -type f -perm /6000 -exec chmod ug-s {} +

echo "phase: check"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 cupola-dev "$root/dev"
mknod -m 0666 "$root/dev/null" c 1 3
mknod -m 0666 "$root/dev/urandom" c 1 9
while IFS= read -r check; do
    if ! chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/bash -c "$check" > "$WORK/check.log" 2>&1
    then
        echo "check failed: $check"
        tail -n 10 "$WORK/check.log"
        exit 1
    fi
done < "$WORK/checks"
umount "$root/dev" "$root/proc"
rm -rf "${root:?}"/root/.npm "${root:?}"/root/.cache "${root:?}"/tmp/*

echo "phase: image"
# Times are kept: with all of them equal every .pyc would be stale, and Python would start several times slower.
mkfs.erofs --quiet -d0 -zlz4 --preserve-mtime "$WORK/image.erofs" "$root"
