package cni

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestProbeBonding(t *testing.T) {
	const release = "6.12.0"
	tests := []struct {
		name, file, text string
		want             error
	}{
		{"driver there", "sys/class/net/bonding_masters", "", nil},
		{"module", "lib/modules/6.12.0/modules.dep", "kernel/net/tls/tls.ko.xz:\nkernel/drivers/net/bonding/bonding.ko.xz: kernel/net/tls/tls.ko.xz\n", nil},
		{"module after a long line", "lib/modules/6.12.0/modules.dep", "kernel/x.ko:" + strings.Repeat(" kernel/y.ko", 6000) + "\nkernel/drivers/net/bonding/bonding.ko:\n", nil},
		{"built in", "lib/modules/6.12.0/modules.builtin", "kernel/drivers/net/bonding/bonding.ko\n", nil},
		{"only needed by another", "lib/modules/6.12.0/modules.dep", "kernel/x.ko: kernel/drivers/net/bonding/bonding.ko\n", bond.ErrUnsupported},
		{"module of another kernel", "lib/modules/5.10.0/modules.dep", "kernel/drivers/net/bonding/bonding.ko:\n", bond.ErrUnsupported},
		{"nothing", "etc/passwd", "", bond.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, tt.file)
			kit.Must(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(tt.text), 0o600)))
			if err := ProbeBonding(root, release); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
