#!/usr/bin/env bash
# Draws the dashboard as docs/dashboard.svg, from a run of the demo in the lab: a Prometheus in the guest scrapes the
# agent while bonds on real VFs break and heal. RUN is a pattern of the demo's faults; by default it takes three minutes.
set -euo pipefail

cd "$(dirname "$0")/../../.."
share=.cache/picture
rm -rf $share && mkdir -p $share
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/demo ./test/demo
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/picture ./test/monitoring/picture
# The rules are the spec of the object, which is its last field.
sed '1,/^spec:/d' manifests/components/monitoring/rules.yaml >$share/rules.yaml
cat >$share/prometheus.yaml <<END
global: {scrape_interval: 5s, evaluation_interval: 5s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: bondkeeper
    static_configs: [{targets: ['127.0.0.1:9719'], labels: {node: lab}}]
END
# The demo may end with an error: it may take the connection of Prometheus for a leak. The picture ends before the
# agent does.
bin/lab run -cards 2 -vfs 4 -memory 2048 -share $share -timeout 20m -- bash -c '
    .cache/prometheus/prometheus --config.file=/run/lab/share/prometheus.yaml --storage.tsdb.path=/tmp/prometheus \
        --web.listen-address=127.0.0.1:9090 2>/run/lab/share/prometheus.log &
    began=$SECONDS
    bin/demo -bin bin -run "$1" || true
    bin/picture -range "$((SECONDS - began - 15))s" -until 15s >/run/lab/share/dashboard.svg' - "${RUN:-later bind|order|numvfs|^PF down|^bond deleted|set down|MTU|flushed|cannot be}"
cp $share/dashboard.svg docs/dashboard.svg
