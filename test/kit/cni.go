package kit

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// CallCNI calls a CNI plugin with variables, such as CNI_COMMAND=ADD, and returns its result or the text of its error.
func CallCNI(t testing.TB, program, config string, variables ...string) (result, failed string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Stdin = strings.NewReader(config)
	cmd.Env = append(os.Environ(), variables...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		var coded struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal(out.Bytes(), &coded) != nil || coded.Msg == "" {
			t.Fatalf("%s: %v: %s%s", variables, err, out.String(), errs.String())
		}
		return "", coded.Msg
	}
	return out.String(), ""
}
