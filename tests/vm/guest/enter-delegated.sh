# SPDX-License-Identifier: MIT
# A user to whom root has delegated a group of each hierarchy by hand; the command starts in a leaf of it.
for mount in $(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts); do
    group=$mount/delegated
    mkdir -p "$group/leaf"
    if [ -e "$mount/cgroup.controllers" ]; then
        controllers=$(sed 's/\</+/g' "$mount/cgroup.controllers")
        echo "$controllers" >"$mount/cgroup.subtree_control"
        echo "$controllers" >"$group/cgroup.subtree_control"
    elif [ -e "$group/cpuset.cpus" ]; then  # no process enters a v1 group whose sets are empty
        for file in cpuset.cpus cpuset.mems; do
            cat "$mount/$file" >"$group/$file"
            cat "$mount/$file" >"$group/leaf/$file"
        done
    fi
    delegated=
    for file in "" tasks $(cat /sys/kernel/cgroup/delegate); do
        for path in "$group/$file" "$group/leaf/$file"; do
            [ -e "$path" ] && delegated="$delegated $path"
        done
    done
    chown tester: $delegated
    echo $$ >"$group/leaf/cgroup.procs"
done
export HOME=/home/tester USER=tester
exec setpriv --reuid=tester --regid=tester --init-groups sh /run/vm/command.sh
