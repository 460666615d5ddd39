package sysdump

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// secret are the names of JSON fields that may contain a secret. A network config may have any field.
var secret = regexp.MustCompile(`(?i)token|passw|passphrase|pass$|pwd|secret|credential|(private|api|access).?key|auth|bearer|psk`)

// urlUser is the user of a URL, with a password perhaps, in any text.
var urlUser = regexp.MustCompile(`://[^/?#\s"]*@`)

const redacted = "REDACTED"

// redact replaces the values of fields that may contain a secret, and indents.
func redact(text []byte) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.MarshalIndent(redactValue(v), "", "  ")
}

func redactValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			if secret.MatchString(name) {
				v[name] = redacted
			} else {
				v[name] = redactValue(field)
			}
		}
	case []any:
		for i := range v {
			v[i] = redactValue(v[i])
		}
	}
	return v
}
