// A module of its own keeps the SDK away from the agent.
module github.com/bondkeeper/bondkeeper/docs/gen/dashboard

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
