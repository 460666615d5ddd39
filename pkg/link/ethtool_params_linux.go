package link

import "golang.org/x/sys/unix"

// ethtoolGroups are the settings that have one value each, by attribute (linux/ethtool_netlink.h), with the words of
// ethtool(8). A value of one byte is on or off. Values that the driver chooses itself are left out.
var ethtoolGroups = []struct {
	name    string
	request uint8
	params  map[uint16]string
}{
	{"ring", unix.ETHTOOL_MSG_RINGS_GET, map[uint16]string{
		unix.ETHTOOL_A_RINGS_RX: "rx", unix.ETHTOOL_A_RINGS_RX_MINI: "rx-mini", unix.ETHTOOL_A_RINGS_RX_JUMBO: "rx-jumbo",
		unix.ETHTOOL_A_RINGS_TX: "tx", unix.ETHTOOL_A_RINGS_RX_BUF_LEN: "rx-buf-len", unix.ETHTOOL_A_RINGS_CQE_SIZE: "cqe-size",
		unix.ETHTOOL_A_RINGS_TX_PUSH: "tx-push", unix.ETHTOOL_A_RINGS_RX_PUSH: "rx-push",
	}},
	{"channels", unix.ETHTOOL_MSG_CHANNELS_GET, map[uint16]string{
		unix.ETHTOOL_A_CHANNELS_RX_COUNT: "rx", unix.ETHTOOL_A_CHANNELS_TX_COUNT: "tx",
		unix.ETHTOOL_A_CHANNELS_OTHER_COUNT: "other", unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT: "combined",
	}},
	{"coalesce", unix.ETHTOOL_MSG_COALESCE_GET, map[uint16]string{
		unix.ETHTOOL_A_COALESCE_RX_USECS: "rx-usecs", unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES: "rx-frames",
		unix.ETHTOOL_A_COALESCE_RX_USECS_IRQ: "rx-usecs-irq", unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_IRQ: "rx-frames-irq",
		unix.ETHTOOL_A_COALESCE_TX_USECS: "tx-usecs", unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES: "tx-frames",
		unix.ETHTOOL_A_COALESCE_TX_USECS_IRQ: "tx-usecs-irq", unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_IRQ: "tx-frames-irq",
		unix.ETHTOOL_A_COALESCE_STATS_BLOCK_USECS: "stats-block-usecs",
		unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX:   "adaptive-rx", unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_TX: "adaptive-tx",
		unix.ETHTOOL_A_COALESCE_PKT_RATE_LOW: "pkt-rate-low", unix.ETHTOOL_A_COALESCE_PKT_RATE_HIGH: "pkt-rate-high",
		unix.ETHTOOL_A_COALESCE_RX_USECS_LOW: "rx-usecs-low", unix.ETHTOOL_A_COALESCE_RX_USECS_HIGH: "rx-usecs-high",
		unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_LOW: "rx-frames-low", unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_HIGH: "rx-frames-high",
		unix.ETHTOOL_A_COALESCE_TX_USECS_LOW: "tx-usecs-low", unix.ETHTOOL_A_COALESCE_TX_USECS_HIGH: "tx-usecs-high",
		unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_LOW: "tx-frames-low", unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_HIGH: "tx-frames-high",
		unix.ETHTOOL_A_COALESCE_RATE_SAMPLE_INTERVAL: "sample-interval",
		unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_TX:      "cqe-mode-tx", unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_RX: "cqe-mode-rx",
	}},
	{"pause", unix.ETHTOOL_MSG_PAUSE_GET, map[uint16]string{
		unix.ETHTOOL_A_PAUSE_AUTONEG: "autoneg", unix.ETHTOOL_A_PAUSE_RX: "rx", unix.ETHTOOL_A_PAUSE_TX: "tx",
	}},
}

// ethtoolChosen are settings whose value the driver or the link partner chooses while another one is on.
var ethtoolChosen = map[string][]string{
	"coalesce adaptive-rx": {"coalesce rx-usecs", "coalesce rx-frames"},
	"coalesce adaptive-tx": {"coalesce tx-usecs", "coalesce tx-frames"},
	"pause autoneg":        {"pause rx", "pause tx"},
}
