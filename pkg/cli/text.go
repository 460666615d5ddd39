package cli

import (
	"fmt"
	"strings"
	"unicode"
)

// Quote quotes a text with characters that a terminal could interpret, and returns others unchanged. Names come from
// pods, and annotations from any user who may edit pods.
func Quote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return fmt.Sprintf("%+q", s)
	}
	return s
}

// Dash returns "-" for an empty text.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
