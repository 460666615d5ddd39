//go:build lab

package sandbox

import (
	"fmt"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/runtime"
	"github.com/bondkeeper/bondkeeper/pkg/runtime/runtimetest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// harness is the contract's harness on a real containerd.
type harness struct {
	t    *testing.T
	c    *Containerd
	pods map[string]*Pod
}

func (h *harness) Add() string {
	h.t.Helper()
	p, err := h.c.NewPod(h.t.Context(), fmt.Sprint("contract", len(h.pods)), true)
	kit.Must(h.t, err)
	h.pods[p.ID] = p
	return p.ID
}

func (h *harness) Populate(id string) { kit.Must(h.t, h.pods[id].Populate(h.t.Context())) }
func (h *harness) Stop(id string)     { kit.Must(h.t, h.pods[id].Kill(h.t.Context())) }
func (h *harness) Remove(id string)   { kit.Must(h.t, h.pods[id].Remove(h.t.Context())) }
func (h *harness) Kill()              { kit.Must(h.t, h.c.Kill()) }
func (h *harness) Start()             { kit.Must(h.t, h.c.Start(h.t.Context(), "root")) }
func (h *harness) Stall()             { kit.Must(h.t, h.c.Stall()) }
func (h *harness) Resume()            { kit.Must(h.t, h.c.Resume()) }

func TestContract(t *testing.T) {
	c := startContainerd(t)
	for _, kind := range []string{"containerd", "cri"} {
		t.Run(kind, func(t *testing.T) {
			runtimetest.RunContract(t, &harness{t: t, c: c, pods: map[string]*Pod{}}, func(t *testing.T) runtimetest.Runtime {
				r, err := runtime.Open(kind + "://" + c.Socket())
				kit.Must(t, err)
				return r
			})
		})
	}
}
