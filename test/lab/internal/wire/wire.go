package wire

import (
	"io"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	// Port is the name of the virtio-serial port.
	Port = "bondkeeper.lab"
	// ShareTag and RootTag are the mount tags of the two 9p exports: the shared directory, and the host's /.
	ShareTag = "lab-share"
	RootTag  = "lab-root"
	// BootFile is the file in the initramfs with the guest's orders, a Boot as JSON; ModuleDir holds its kernel
	// modules, uncompressed, under the names that the Boot lists.
	BootFile  = "/lab.json"
	ModuleDir = "/modules"
	// TrialMark is printed on the console by the guest's init in a trial boot, before it powers off.
	TrialMark = "lab: this accelerator works"
)

// Boot has the orders for the guest's init.
type Boot struct {
	// Trial: print TrialMark and power off.
	Trial bool
	// Accel is passed on to the topology.
	Accel string
	// Cards is the number of SR-IOV cards to expect, VFs the number of functions to make on each.
	Cards, VFs int
	// Model is the cards' model.
	Model topology.Model
	// UserNet: there is a card in QEMU's user-mode network.
	UserNet bool
	// RootModules are loaded in this order before the root is mounted, CardModules concurrently with that.
	RootModules, CardModules []string
	// KernelModules is the host's directory with all modules of the guest's kernel.
	KernelModules string
	// Env is the environment of every command.
	Env []string
}

// Hello reports that the guest has its root and that its command server runs.
type Hello struct {
	Kernel string
}

// Ready reports that the guest's cards are set up, or why they are not.
type Ready struct {
	Topology topology.Topology
	// Err is empty on success.
	Err string
}

// Request starts one command.
type Request struct {
	Path string
	Args []string
	// Env has NAME=VALUE settings that are added to the guest's own small environment.
	Env []string
	// Dir is the working directory; empty means /.
	Dir string
	// TTY gives the command a terminal, which receives Inputs and sends its output as standard output. Otherwise the
	// command reads from /dev/null.
	TTY bool
}

// Input is input for the terminal of a running command.
type Input struct {
	// Data is what was typed.
	Data []byte
	// Rows and Cols, when not zero, are the terminal's new size.
	Rows, Cols uint16
}

// Output is output of a command.
type Output struct {
	Stdout, Stderr []byte
	// Exit is set in the last message.
	Exit *Exit
}

// Exit reports how a command ended.
type Exit struct {
	// Code is its exit status, -1 if there is none.
	Code int
	// Signal names the signal that killed it, if one did.
	Signal string
	// Err is why it could not be started.
	Err string
}

// Config returns the yamux settings for both ends. The pipe exists exactly as long as the guest, so keepalives are not
// needed, and a timeout would only mean that the machine is slow.
func Config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 10 * time.Minute
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = time.Minute
	c.LogOutput = io.Discard
	return c
}
