package sriovcni

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath bounds the path of a netns, in bytes (PATH_MAX of linux/limits.h).
const maxPath = 4096

// Claim returns the netns path in a VF's claim; empty if it has none, for example while sriov-cni writes it. The error
// matches fs.ErrNotExist if there is no claim.
func Claim(path string) (netns string, err error) {
	data, err := load(path)
	if err != nil {
		return "", err
	}
	netns = strings.TrimSpace(string(data))
	switch {
	case len(netns) >= maxPath:
		return "", fmt.Errorf("it names a path of %d bytes, want %d at most", len(netns), maxPath-1)
	case !filepath.IsAbs(netns) || strings.ContainsRune(netns, 0):
		return "", nil // no netns can be there
	case !utf8.ValidString(netns) || strings.ContainsFunc(netns, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("it names a path with unprintable characters: %.100q", netns)
	}
	return netns, nil
}
