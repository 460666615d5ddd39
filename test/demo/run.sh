#!/usr/bin/env bash
# Boots the lab and shows in it how bonds break and heal. Arguments go to the demo (-run PATTERN, for one).
# The closing table is left in .cache/demo/table.md, too.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/demo ./test/demo
mkdir -p .cache/demo
exec bin/lab run -cards 2 -vfs 4 -share .cache/demo -timeout 15m -- \
    bin/demo -bin bin -markdown /run/lab/share/table.md "$@"
