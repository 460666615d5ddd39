// The Prometheus Operator, whose resource definitions the manifests are checked against. Nothing of it is built.
module github.com/bondkeeper/bondkeeper/test/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
