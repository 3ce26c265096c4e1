# SPDX-License-Identifier: MIT
# A user in a scope that the user's own systemd delegates.
uid=$(id -u tester)
systemctl start "user@$uid.service"
export HOME=/home/tester USER=tester LOGNAME=tester XDG_RUNTIME_DIR=/run/user/$uid
exec setpriv --reuid=tester --regid=tester --init-groups \
    systemd-run --user --scope --quiet -p Delegate=yes sh /run/vm/leaf.sh
