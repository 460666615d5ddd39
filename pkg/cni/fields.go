package cni

import (
	"fmt"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// Field describes one of the plugin's own fields of the network config; package bond describes the bonding options.
type Field struct {
	Name string
	// Values describes the allowed values, also in errors.
	Values string
	// Default is the value of an absent field.
	Default string
	// About describes the field in a sentence or two.
	About string
}

const (
	// maxLinkTimeout leaves an ADD time for the rest of its addTimeout.
	maxLinkTimeout = 60 * time.Second
	// maxQueueID is the kernel's limit for a bond with 16 transmit queues, the module's default
	// (bond_option_queue_id_set).
	maxQueueID = 16
)

const (
	fieldLinks     = "links"
	fieldInPod     = "linksInContainer"
	fieldSingle    = "allowSingleLink"
	fieldDegraded  = "startDegraded"
	fieldTimeout   = "linkTimeout"
	fieldIfName    = "ifname"
	fieldMTU       = "mtu"
	fieldMAC       = "mac"
	fieldStateDir  = "stateDir"
	fieldName      = "links[].name"
	fieldQueueID   = "links[].queueId"
	fieldPrio      = "links[].prio"
	fieldPortPrio  = "links[].actorPortPrio"
	fieldEnforce   = "enforce"
	fieldDAD       = "dad"
	fieldIPAM      = "ipam"
	fieldDNS       = "dns"
	wantSingleLink = `a list of one or more links, e.g. [{"name": "net1"}]`
)

var fields = []Field{
	{fieldLinks, `a list of two or more links, e.g. [{"name": "net1"}, {"name": "net2"}]`, "–", "Members of the bond. Links that are already enslaved, bonds and the loopback interface are rejected."},
	{fieldName, "the name of a link, as a string", "–", "Name of the link in the pod or, with linksInContainer false, in the host. Other fields of an entry are ignored."},
	{fieldQueueID, fmt.Sprintf("a number from 0 to %d", maxQueueID), "0", "Transmit queue of the bond that uses only this link (tc-skbedit(8) queue_mapping). Two links cannot have the same, except 0."},
	{fieldPrio, "a number from -2147483648 to 2147483647", "0", "In active-backup, balance-tlb and balance-alb: the link with the highest priority is active whenever primaryReselect allows it. A primary has precedence. Since kernel 6.0."},
	{fieldPortPrio, "a number from 0 to 65535", "255", "In 802.3ad: LACP priority of the link's port. With adSelect actor_port_prio the aggregator with the greatest sum is active. Since kernel 6.18."},
	{fieldInPod, netconf.TrueOrFalse, "false", "Whether the links are already in the pod. Otherwise they are moved there from the host, and back on DEL."},
	{fieldSingle, netconf.TrueOrFalse, "false", "Whether links may have a single entry."},
	{fieldDegraded, netconf.TrueOrFalse, "false", "Whether ADD and CHECK accept missing links, if at least one is present. A link that is missing at ADD joins later if sriov-cni has recorded which VF it is. Otherwise it is reported as unidentified and never attached."},
	{fieldTimeout, fmt.Sprintf("a number of seconds from 0 to %d", int(maxLinkTimeout.Seconds())), "0", "How long ADD waits for missing links."},
	{fieldIfName, "ignored", "–", "The bond has the name that the runtime gives (CNI_IFNAME), which the next plugins of a chain use. Another name here causes a warning."},
	{fieldMTU, fmt.Sprintf("a number from %d to %d, or 0 to take the members' least", minMTU, maxMTU), "0", "MTU of the bond, which the kernel also sets on its members. It cannot exceed the MTU of a link or of the PF that owns it. An IPv6 address needs 1280."},
	{fieldMAC, "a unicast MAC address, e.g. 02:00:00:00:00:01", "the first link's", "MAC of the bond. With failOverMac=active the bond has its active member's MAC, so the preferred link (the primary, the highest prio, or the first) gets this MAC until DEL, unless a link already has it. runtimeConfig.mac, args.cni.mac and MAC in CNI_ARGS have precedence, in this order."},
	{fieldDAD, netconf.TrueOrFalse, "true", "Whether ADD adds IPv6 addresses with duplicate address detection. With an IPv6 gateway ADD waits for it: 5 s at most for the bond's carrier, and then 5 s for the detection. It fails if an address is in use, or still tentative or removed after 5 s with carrier. Otherwise a duplicate is reported later. false: addresses work at once and duplicates are not detected. Repairs never run the detection."},
	{fieldEnforce, `"all" or "links"`, "all", "What the agent enforces once the pod's set-up is complete. links: only the bond, its members, options, names and admin state; other changes are learned. all: also the MTU, MAC, addresses and routes that were requested and that set-up kept. After a loss everything is restored in both cases."},
	{fieldIPAM, "an object with the type of an IPAM plugin, e.g. host-local", "none", "IPAM plugin that assigns addresses. It gets the whole network config, including runtimeConfig.ips and args.cni.ips."},
	{fieldDNS, "an object with nameservers, domain, search and options", "IPAM's result", "DNS settings in the result."},
	{fieldStateDir, "an absolute path", "/run/bondkeeper", "Directory of the records; the agent's --state-dir must be the same."},
}

// Fields returns the descriptions of all fields. The slice must not be changed.
func Fields() []Field { return fields }

// allowedValues describes a field's values, for errors.
func allowedValues(field string) string {
	for i := range fields {
		if fields[i].Name == field {
			return fields[i].Values
		}
	}
	panic("cni: no field " + field) // a programmer's error that every test of the field finds
}
