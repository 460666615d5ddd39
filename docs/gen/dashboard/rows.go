package main

// row is a titled row of panels.
type row struct {
	title  string
	panels []panel
}

// rows are the whole dashboard. The queries use the names that the rules record where there is one.
var rows = []row{
	{"Overview", []panel{
		number("Bonds", "Bonds of pods on the selected nodes.",
			`sum(node:bondkeeper_bonds:sum{node=~"$node"})`, false),
		number("Not Ready", "Bonds that are incomplete, down, being repaired, or need manual action.",
			`sum(bondkeeper_bonds{node=~"$node", state!="Ready"})`, true),
		number("Down", "Bonds that carry no traffic.",
			`sum(bondkeeper_bonds{node=~"$node", state="Down"})`, true),
		number("Stuck", "Bonds that need manual action.",
			`sum(bondkeeper_bonds{node=~"$node", state="Stuck"})`, true),
		number("Losses", "Losses in the selected time. Each is one bond or member, by one cause.",
			`sum(increase(bondkeeper_losses_total{node=~"$node"}[$__range]))`, false),
		number("Agents not scraped", "Agents that Prometheus knows and cannot scrape.",
			`count(up{job="bondkeeper", node=~"$node"} == 0)`, true),
		list("Alerts", "Alerts of Bondkeeper that fire. Their annotation runbook_url leads to what to do.",
			`sort_desc(count by (alertname, severity, node) (ALERTS{alertname=~"Bondkeeper.*", alertstate="firing", node=~"$node|"}))`),
		list("Nodes with bonds that are not Ready", "kubectl bonds shows these bonds and their reasons.",
			`sort_desc(sum by (node, state) (bondkeeper_bonds{node=~"$node", state!="Ready"}) > 0)`),
	}},
	{"Bonds and members", []panel{
		byState(stacked(graph("Bonds by state", "", "short",
			query{`sum by (state) (bondkeeper_bonds{node=~"$node"})`, "{{state}}"}))),
		stacked(graph("Members by state", "The states of the annotation on the pod; active, backup and up carry traffic.", "short",
			query{`sum by (state) (bondkeeper_bond_members{node=~"$node"})`, "{{state}}"})),
		list("Pods with bonds that are not Ready", "Needs the agents' flag --metrics-per-pod; kubectl bonds shows these bonds without it.",
			`count by (node, namespace, pod, bond, state) (bondkeeper_bond_state_info{node=~"$node", state!="Ready"})`),
		graph("Share of bonds that are Ready", "Per node with bonds.", "percentunit",
			query{`node:bondkeeper_bonds_ready:ratio{node=~"$node"}`, "{{node}}"}),
	}},
	{"Losses and repairs", []panel{
		stacked(graph("Losses by cause", "Losses in the last hour.", "short",
			query{`sum by (cause) (increase(bondkeeper_losses_total{node=~"$node"}[1h])) > 0`, "{{cause}}"})),
		graph("Time since the last loss", "Per node. No line before the first loss after the agent's start.", "s",
			query{`time() - max by (node) (bondkeeper_last_loss_timestamp_seconds{node=~"$node"} > 0)`, "{{node}}"}),
		graph("Repair duration", "From the observed loss until everything is as recorded, in the last hour.", "s",
			query{`histogram_quantile(0.5, sum by (le, subject) (increase(bondkeeper_repair_duration_seconds_bucket{node=~"$node"}[1h])))`, "median, {{subject}}"},
			query{`histogram_quantile(0.95, sum by (le, subject) (increase(bondkeeper_repair_duration_seconds_bucket{node=~"$node"}[1h])))`, "95 %, {{subject}}"}),
		graph("Repair phases", "95th percentile in the last hour. absent: until the VF is visible; repair: from then on.", "s",
			query{`histogram_quantile(0.95, sum by (le, phase) (increase(bondkeeper_repair_phase_duration_seconds_bucket{node=~"$node"}[1h])))`, "{{phase}}"}),
		graph("Repairs by result", "Repairs in the last hour. abandoned: the bond was removed first.", "short",
			query{`sum by (result) (increase(bondkeeper_repairs_total{node=~"$node"}[1h]))`, "{{result}}"}),
		graph("Rejected changes", "Changes that the kernel or a driver rejected in the last hour, by kind.", "short",
			query{`sum by (action) (increase(bondkeeper_action_failures_total{node=~"$node"}[1h])) > 0`, "{{action}}"}),
	}},
	{"Other writers and releases", []panel{
		graph("Fights and contested settings", "Bonds whose repairs are limited, and settings where another writer's value was accepted.", "short",
			query{`sum by (node) (bondkeeper_bonds_fighting{node=~"$node"}) > 0`, "fighting, {{node}}"},
			query{`sum by (node) (bondkeeper_contested_settings{node=~"$node"}) > 0`, "contested, {{node}}"}),
		graph("Failed releases", "Bonds of ended pods whose addresses stay allocated.", "short",
			query{`sum by (node) (bondkeeper_failed_releases{node=~"$node"})`, "{{node}}"}),
	}},
	{"Agents", []panel{
		graph("Kernel events", "Events that the agents read, and those that concerned a bond.", "ops",
			query{`sum(rate(bondkeeper_kernel_events_total{node=~"$node"}[$__rate_interval]))`, "read"},
			query{`sum(rate(bondkeeper_kernel_events_relevant_total{node=~"$node"}[$__rate_interval]))`, "relevant"}),
		graph("Lost events", "Overruns of the receive buffer in the last hour, and findings that only a resync saw.", "short",
			query{`sum by (node) (increase(bondkeeper_kernel_event_overruns_total{node=~"$node"}[1h])) > 0`, "overruns, {{node}}"},
			query{`sum by (cause) (increase(bondkeeper_resync_findings_total{node=~"$node"}[1h])) > 0`, "found by a resync, {{cause}}"}),
		graph("Requests to the API server", "By status code.", "reqps",
			query{`sum by (code) (rate(bondkeeper_api_requests_total{node=~"$node"}[$__rate_interval]))`, "{{code}}"}),
		graph("Status reports", "Pods whose status is not current, and failed requests in the last hour.", "short",
			query{`sum(bondkeeper_pods_pending{node=~"$node"})`, "pods pending"},
			query{`sum by (reason) (increase(bondkeeper_pod_request_failures_total{node=~"$node"}[1h]))`, "failed, {{reason}}"}),
		graph("CPU", "CPU seconds per second.", "short",
			query{`sum by (node) (rate(process_cpu_seconds_total{job="bondkeeper", node=~"$node"}[$__rate_interval]))`, "{{node}}"}),
		graph("Memory", "Resident memory.", "bytes",
			query{`sum by (node) (process_resident_memory_bytes{job="bondkeeper", node=~"$node"})`, "{{node}}"}),
		list("Versions", "Agents by version; more than one during an upgrade only.",
			`count by (version) (bondkeeper_build_info{node=~"$node"})`),
	}},
}
