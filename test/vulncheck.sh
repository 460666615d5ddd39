#!/usr/bin/env bash
# Checks this module with govulncheck. Its database is made from the module golang.org/x/vulndb, at the version in
# test/tools/vuln/go.mod, so that no other server than the Go module proxy is needed. A newer database:
#   (cd test/tools/vuln && go get golang.org/x/vulndb@latest)
# VULNDB=URL uses a database in the format of https://vuln.go.dev instead.
set -euo pipefail
cd "$(dirname "$0")/.."
db=${VULNDB:-}
if [ -z "$db" ]; then
    source=$(cd test/tools/vuln && go mod download -json golang.org/x/vulndb | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
    [ -d "$source/data/osv" ] || {
        echo "the vulnerability database cannot be had from the Go module proxy; set VULNDB to the URL of one" >&2
        exit 1
    }
    out=$PWD/.cache/vulndb/$(basename "$source")
    if [ ! -e "$out/index/db.json" ]; then
        rm -rf .cache/vulndb
        (cd test/tools/vuln && go tool indexdb -vulns "$source/data/osv" -out "$out")
    fi
    db=file://$out
fi
(cd test/tools/vuln && go build -o "$OLDPWD/.cache/bin/govulncheck" golang.org/x/vuln/cmd/govulncheck)
.cache/bin/govulncheck -db "$db" ./...
