# SPDX-License-Identifier: MIT
# Root in the root groups, as on a machine without systemd.
exec sh /run/vm/command.sh
