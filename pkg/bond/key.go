package bond

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// MaxIfNameLen is the longest interface name that the kernel accepts, in bytes
// (IFNAMSIZ less the terminating NUL, linux/if.h).
const MaxIfNameLen = 15

// maxContainerIDLen keeps "<containerID>@<ifName>.json" within the 255 bytes of a file name.
const maxContainerIDLen = 200

// containerID is the form that the CNI specification gives a container ID.
var containerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.\-]*$`)

// Key identifies one pod bond: one bond interface in one sandbox. It is comparable, so it can be a map key.
type Key struct {
	// ContainerID is the sandbox's ID as the runtime passes it in CNI_CONTAINERID.
	ContainerID string `json:"containerID"`
	// IfName is the bond's interface name in the pod, from CNI_IFNAME.
	IfName string `json:"ifName"`
}

// String returns "<containerID>@<ifName>". No container ID contains '@', so
// ParseKey can split it again.
func (k Key) String() string { return k.ContainerID + "@" + k.IfName }

// ParseKey is the inverse of String.
func ParseKey(s string) (Key, error) {
	id, name, found := strings.Cut(s, "@")
	if !found {
		return Key{}, fmt.Errorf("bond key %.64q: want <containerID>@<ifName>", s)
	}
	k := Key{ContainerID: id, IfName: name}
	return k, k.Validate()
}

// Validate rejects what must not become a file name or an interface name.
func (k Key) Validate() error {
	if !containerID.MatchString(k.ContainerID) || len(k.ContainerID) > maxContainerIDLen {
		return fmt.Errorf("container ID %.64q: want letters, digits, '_', '.' and '-', beginning with a letter or digit, %d bytes at most", k.ContainerID, maxContainerIDLen)
	}
	return ValidateIfName(k.IfName)
}

// ValidateIfName applies the kernel's own rule for interface names
// (dev_valid_name in net/core/dev.c).
func ValidateIfName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("interface name is empty")
	case len(name) > MaxIfNameLen:
		return fmt.Errorf("interface name %.64q has %d bytes, the kernel accepts %d at most", name, len(name), MaxIfNameLen)
	case name == "." || name == "..":
		return fmt.Errorf("interface name %.64q is not a name", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == ':' || r < ' ' || unicode.IsSpace(r) }):
		return fmt.Errorf("interface name %.64q: '/', ':' and white space are not allowed", name)
	}
	return nil
}
