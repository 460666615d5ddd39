//go:build lab

package sandbox

import (
	"fmt"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/runtime"
	"github.com/bondkeeper/bondkeeper/pkg/runtime/runtimetest"
)

// hands are those of the contract on a real containerd.
type hands struct {
	t    *testing.T
	c    *Containerd
	pods map[string]*Pod
}

func (h *hands) Add() string {
	h.t.Helper()
	p, err := h.c.NewPod(h.t.Context(), fmt.Sprint("contract", len(h.pods)), true)
	must(h.t, err)
	h.pods[p.ID] = p
	return p.ID
}

func (h *hands) Stop(id string)   { must(h.t, h.pods[id].Kill(h.t.Context())) }
func (h *hands) Remove(id string) { must(h.t, h.pods[id].Remove(h.t.Context())) }
func (h *hands) Kill()            { must(h.t, h.c.Kill()) }
func (h *hands) Start()           { must(h.t, h.c.Start(h.t.Context(), "root")) }
func (h *hands) Stall()           { must(h.t, h.c.Stall()) }
func (h *hands) Resume()          { must(h.t, h.c.Resume()) }

func TestContract(t *testing.T) {
	c := startContainerd(t)
	for _, kind := range []string{"containerd", "cri"} {
		t.Run(kind, func(t *testing.T) {
			runtimetest.RunContract(t, &hands{t: t, c: c, pods: map[string]*Pod{}}, func(t *testing.T) runtimetest.Runtime {
				r, err := runtime.Open(kind + "://" + c.Socket())
				must(t, err)
				return r
			})
		})
	}
}
