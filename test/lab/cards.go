package lab

import (
	"fmt"
	"path/filepath"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// CardsEnv names the environment variable that selects the model of the cards: igb (the default) or virtio.
const CardsEnv = "BONDKEEPER_LAB_CARDS"

// qemu is the program to run. Debian's QEMU has igb, but VFs of virtio-net only since version 11, which deps.sh has put
// in the cache.
func (c *Config) qemu() string {
	switch {
	case c.QEMU != "":
		return c.QEMU
	case c.model == topology.Virtio:
		return filepath.Join(c.CacheDir, "qemu11", "qemu-system-x86_64")
	default:
		return "qemu-system-x86_64"
	}
}

// cardID is QEMU's ID of a card.
func cardID(card int) string { return fmt.Sprintf("card%d", card) }

// cardArgs are QEMU's arguments for a card: a PCI Express port, and its functions, all on the one segment.
func cardArgs(cfg *Config, card int) []string {
	args := []string{"-device", fmt.Sprintf("pcie-root-port,id=port%d,chassis=%[2]d,slot=%[2]d", card, card+1)}
	if cfg.model == topology.Virtio {
		// QEMU wants VFs before their PF. An igb makes its VFs itself, with one connection to the segment.
		for vf := range cfg.VFs {
			args = append(args, virtioArgs(card, vf+1, "sriov-pf="+cardID(card))...)
		}
		return append(args, virtioArgs(card, 0, "id="+cardID(card))...)
	}
	return append(args,
		"-netdev", fmt.Sprintf("hubport,id=segment%d,hubid=1", card),
		"-device", fmt.Sprintf("igb,id=%s,bus=port%d,netdev=segment%[2]d,mac=52:54:00:6c:00:%02[3]x,romfile=", cardID(card), card, card+1))
}

// virtioArgs are QEMU's arguments for a function of a virtio card: 0 is the PF. In mode 802.3ad the kernel does not use
// a link without a speed.
func virtioArgs(card, function int, option string) []string {
	return []string{
		"-netdev", fmt.Sprintf("hubport,id=segment%d-%d,hubid=1", card, function),
		"-device", fmt.Sprintf("virtio-net-pci,bus=port%d,addr=0x0.%#x,netdev=segment%[1]d-%[2]d,mac=52:54:00:6c:%02[2]x:%02[3]x,speed=10000,duplex=full,romfile=,%s",
			card, function, card+1, option),
	}
}
