package cni

import (
	"fmt"
	"time"
)

// Field describes one field of the network config that is the plugin's own; the bonding options are
// in package bond.
type Field struct {
	Name string
	// Values are those allowed, as errors tell them.
	Values string
	// Default is what the field is taken for where it is not there.
	Default string
	// About says in a sentence or two what the field does.
	About string
}

const (
	// maxLinkTimeout leaves an ADD, which has addTimeout, time for the rest.
	maxLinkTimeout = 60 * time.Second
	// maxQueueID is the kernel's bound for a bond with the 16 transmit queues that it has unless
	// the module was told otherwise (bond_option_queue_id_set).
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
	fieldEnforce   = "enforce"
	fieldDAD       = "dad"
	fieldIPAM      = "ipam"
	fieldDNS       = "dns"
	trueOrFalse    = "true or false"
	wantSingleLink = `a list of one or more links, e.g. [{"name": "net1"}]`
)

var fields = []Field{
	{fieldLinks, `a list of two or more links, e.g. [{"name": "net1"}, {"name": "net2"}]`, "–", "The members of the bond. One that is enslaved already, a bond or the loopback interface is refused."},
	{fieldName, "the name of a link, as a string", "–", "Where the link is called so: in the pod or, with linksInContainer false, in the host. What else an entry holds is ignored."},
	{fieldQueueID, fmt.Sprintf("a number from 0 to %d", maxQueueID), "0", "The transmit queue of the bond that goes out on this link alone (tc-skbedit(8) queue_mapping); no two links have the same but 0."},
	{fieldPrio, "a number from -2147483648 to 2147483647", "0", "In active-backup, balance-tlb and balance-alb: the link with the highest priority is active whenever primaryReselect lets it. A primary outranks all. Since kernel 6.0."},
	{fieldInPod, trueOrFalse, "false", "Whether the links are in the pod already. Otherwise they are moved there from the host, and back on DEL."},
	{fieldSingle, trueOrFalse, "false", "Whether one link is enough in links."},
	{fieldDegraded, trueOrFalse, "false", "Whether ADD, and CHECK, are content with some of the links. One that is missing at ADD joins when it comes if sriov-cni noted which VF it is; else it is told of as unidentified and never taken."},
	{fieldTimeout, fmt.Sprintf("a number of seconds from 0 to %d", int(maxLinkTimeout.Seconds())), "0", "How long ADD waits for links that are not there yet."},
	{fieldIfName, "ignored", "–", "The bond has the name that the runtime gives (CNI_IFNAME), by which the next plugins of a chain look for it. Another name here causes a warning."},
	{fieldMTU, fmt.Sprintf("a number from %d to %d, or 0 to take the members' least", minMTU, maxMTU), "0", "The MTU of the bond, which the kernel puts on its members. More than a link has, or the PF that owns it, is refused."},
	{fieldMAC, "a unicast MAC address, e.g. 02:00:00:00:00:01", "the first link's", "The MAC of the bond. With failOverMac=active, where the bond has its active member's, the first link (the primary, the highest prio) gets it, unless one has it already, and gives it back on DEL. runtimeConfig.mac, args.cni.mac and MAC in CNI_ARGS go before it, in this order."},
	{fieldDAD, trueOrFalse, "true", "Whether ADD adds IPv6 addresses with duplicate address detection. With an IPv6 gateway ADD waits for it, 5 s at most, and fails if an address is in use, or is still tentative though the bond carries; otherwise a duplicate is reported later. false: the addresses work at once and duplicates go unnoticed. Repairs never detect."},
	{fieldEnforce, `"all" or "links"`, "all", "What the agent enforces once the pod's set-up is complete. all: also the MTU, MAC, addresses and routes that were requested and that set-up kept. links: the bond, its members, options, names and admin state only; what else changes is learned. After a loss everything is restored in both cases."},
	{fieldIPAM, "an object with the type of an IPAM plugin, e.g. host-local", "none", "Who gives addresses; the whole network config is passed on to it, runtimeConfig.ips and args.cni.ips among it."},
	{fieldDNS, "an object with nameservers, domain, search and options", "IPAM's answer", "What the result says of name resolution."},
	{fieldStateDir, "an absolute path", "/run/bondkeeper", "Where the record goes; the agent's -state-dir must be the same."},
}

// Fields are the descriptions of all fields. The slice must not be changed.
func Fields() []Field { return fields }

// wanted is what a field may be, for errors.
func wanted(field string) string {
	for i := range fields {
		if fields[i].Name == field {
			return fields[i].Values
		}
	}
	panic("cni: no field " + field) // a programmer's error that every test of the field finds
}
