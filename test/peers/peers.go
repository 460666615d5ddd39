package peers

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	// DirEnv names the directory of the real programs; without it the stand-ins run.
	DirEnv = "BONDKEEPER_PEERS"
	// MultusEnv is the form in which the real Multus runs: Thin or Thick.
	MultusEnv = "BONDKEEPER_MULTUS"
	// StandIns is the directory of the built stand-ins, below the top of the repository (make stand-ins).
	StandIns = "bin/peers"
)

// Multus is a form of Multus.
type Multus string

const (
	// StandIn is the project's own stand-in for Multus.
	StandIn Multus = "stand-in"
	// Thin is the program multus that the runtime executes.
	Thin Multus = "thin"
	// Thick is the daemon multus-daemon, to which the runtime talks through multus-shim.
	Thick Multus = "thick"
)

// programs are those that a form of Multus needs, with sriov-cni.
var programs = map[Multus][]string{
	StandIn: {"multus", "sriov"},
	Thin:    {"multus", "sriov"},
	Thick:   {"multus-daemon", "multus-shim", "sriov"},
}

// Set is the programs that a test runs.
type Set struct {
	// Dir is an absolute path.
	Dir    string
	Multus Multus
}

// Real reports whether the programs are the real ones.
func (s Set) Real() bool { return s.Multus != StandIn }

// Find returns the programs that the environment names, or the stand-ins, for a checkout with its top in root. An
// error names the program that is missing.
func Find(root string) (Set, error) {
	s := Set{Dir: os.Getenv(DirEnv), Multus: Multus(os.Getenv(MultusEnv))}
	switch {
	case s.Dir == "" && s.Multus != "":
		return s, fmt.Errorf("%s is set and %s is not", MultusEnv, DirEnv)
	case s.Dir == "":
		s = Set{Dir: filepath.Join(root, StandIns), Multus: StandIn}
	case s.Multus == "":
		s.Multus = Thin
	case s.Multus != Thin && s.Multus != Thick:
		return s, fmt.Errorf("%s is %q, want %s or %s", MultusEnv, s.Multus, Thin, Thick)
	}
	var err error
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return s, err
	}
	for _, p := range programs[s.Multus] {
		info, err := os.Stat(filepath.Join(s.Dir, p))
		if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 == 0) {
			err = fmt.Errorf("%s is no executable file", filepath.Join(s.Dir, p))
		}
		if err != nil {
			return s, fmt.Errorf("the %s Multus and sriov-cni need the program %s: %w", s.Multus, p, err)
		}
	}
	return s, nil
}
