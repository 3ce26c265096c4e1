# SPDX-License-Identifier: MIT
# Root in a container's view of v2: a cgroup namespace whose root is a group, and the group's own mount over the host's.
group=/sys/fs/cgroup/container
sed 's/\</+/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p $group
echo $$ >$group/cgroup.procs
exec unshare --cgroup --mount sh -c '
    umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec sh /run/vm/leaf.sh /sys/fs/cgroup'
