#!/bin/bash
# PID 1 of the guest: makes an ordinary pure cgroup v2 machine, does what /payload/plan says, powers off.
#
# Two serial lines: ttyS0 is the kernel's console and carries everything meant for people; ttyS1 carries only
# the lines which vm-run parses (src/vm/report.rs), so that neither the kernel nor a test can garble them.
# Until it is up, a failure ends PID 1 and so panics the kernel, which the host tells; later ones are told by tests.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
# /tmp stays on the disk, as in Debian: Linux 6.1 cannot map the owners of a tmpfs (6.3 can), and layers lie there.
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
# systemd makes every mount shared; containers must cope with that.
mount --make-rshared /
ln -sf /proc/self/fd /dev/fd
exec </dev/null >/dev/ttyS0 2>&1
stty -F /dev/ttyS1 raw -echo
# What systemd gives its services; the kernel's own limit is 4096.
ulimit -Hn 524288
report() { echo "$*" >/dev/ttyS1; }

hostname cupola-vm
echo '127.0.0.1 localhost cupola-vm' >/etc/hosts
ip link set lo up
# Everything else is loaded by the kernel itself on first use; loop's control device exists only with the module.
modprobe -a loop overlay erofs
# As systemd does: all controllers are on below the root, so that a cgroup made there has its limit files.
for controller in $(</sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done

# The test binaries have absolute paths of the host compiled in: the same paths lead to the same files here.
while read -r path; do
    mkdir -p "$path"
    mount --bind "/payload/tree$path" "$path"
done </payload/binds
set -a; . /payload/environment; set +a
report up "$(cut -d' ' -f1 /proc/uptime)"
set +e

now() { read -r up _ </proc/uptime; echo "$up"; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# run_test NAME BINARY DIRECTORY TEST: one process for each test, so that one which hangs costs only itself.
run_test() {
    local started; started=$(now)
    if [ "$VM_VERBOSE" = 1 ]; then
        (cd "$3" && CARGO_MANIFEST_DIR=$3 timeout -k 5 "$VM_TEST_TIMEOUT" "$2" --exact "$4" --include-ignored --test-threads=1 --nocapture)
    else
        (cd "$3" && CARGO_MANIFEST_DIR=$3 timeout -k 5 "$VM_TEST_TIMEOUT" "$2" --exact "$4" --include-ignored --test-threads=1 --nocapture) >/run/output 2>&1
    fi
    local status=$? took; took=$(since "$started")
    if [ $status -eq 0 ]; then
        echo "    PASS [${took}s] $1 $4"
    else
        [ "$VM_VERBOSE" = 1 ] || cat /run/output
        [ $status -ne 124 ] || echo "stopped after its time limit of $VM_TEST_TIMEOUT s"
        echo "    FAIL [${took}s] $1 $4 (exit status $status)"
    fi
    report test "$status" "$took" "$1" "$4"
}

if [ -f /payload/shell ]; then
    bash /payload/shell
    report shell $?
else
    # Read whole before anything runs: a test must not inherit the descriptor of a loop around it.
    mapfile -t binaries </payload/tests
    for entry in "${binaries[@]}"; do
        read -r name binary directory <<<"$entry"
        if ! tests=$(CARGO_MANIFEST_DIR=$directory "$binary" --list --format terse); then
            echo "    FAIL $name does not list its tests"
            report test 1 0 "$name" "(list)"
            continue
        fi
        mapfile -t lines <<<"$tests"
        for line in "${lines[@]}"; do
            case $line in *": test") run_test "$name" "$binary" "$directory" "${line%: test}" ;; esac
        done
    done
fi

# What the kernel complained about without dying of it (an oops is a panic here, see the command line).
dmesg | grep -E 'WARNING: CPU|BUG: |INFO: task .* blocked|refcount_t' | while read -r line; do
    report kernel "$line"
done
report end
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
