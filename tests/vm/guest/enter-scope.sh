# SPDX-License-Identifier: MIT
# Root in a scope that the system's systemd delegates.
exec systemd-run --scope --quiet -p Delegate=yes sh /run/vm/leaf.sh
