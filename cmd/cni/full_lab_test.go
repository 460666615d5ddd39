//go:build lab

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// disk mounts a small disk for the state directory.
func (p *pod) disk() {
	p.t.Helper()
	err := os.MkdirAll(p.state, 0o700)
	if err == nil {
		err = unix.Mount("tmpfs", p.state, "tmpfs", 0, "size=256k,mode=0700")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := unix.Unmount(p.state, 0); err != nil {
			p.t.Errorf("unmount %s: %v", p.state, err)
		}
	})
}

// fill leaves no room on the state directory's disk but room bytes.
func (p *pod) fill(room int) (filler string) {
	p.t.Helper()
	filler = filepath.Join(p.state, "filler")
	f, err := os.Create(filler)
	if err != nil {
		p.t.Fatal(err)
	}
	size := int64(0)
	for ; err == nil; size += 4096 {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		p.t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size-4096-int64(room)), f.Close()); err != nil {
		p.t.Fatal(err)
	}
	return filler
}

// TestFullStateDirInTheLab: on a full state directory ADD says so and leaves nothing, wherever in its course the disk
// is full; DEL gives everything back.
func TestFullStateDirInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	p.disk()
	before := p.links()
	conf := p.local(`"mode":1,"failOverMac":1`, `"routes":[{"dst":"198.51.100.0/24","gw":"192.0.2.1"}]`)
	p.add(conf, "bond0")
	filler := p.fill(0)
	p.del(conf, "bond0")
	p.nothingLeft(before)

	refused, made := 0, 0
	for room := 0; made == 0; room += 4096 {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		p.fill(room)
		_, err := p.cni.AddNetwork(t.Context(), conf, p.runtime("bond0"))
		if err == nil {
			made++
			p.del(conf, "bond0")
		} else if refused++; !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), p.state) {
			t.Errorf("with %d bytes free ADD says: %v", room, err)
		}
		p.nothingLeft(before)
		if room > 1<<17 {
			t.Fatal("ADD never succeeds")
		}
	}
	if refused < 2 {
		t.Errorf("ADD was refused %d times, want it to be with no room and with some", refused)
	}
	t.Logf("%d ADDs refused with growing room, then made", refused)
}
