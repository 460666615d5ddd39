package image

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// instruction is a line of a Dockerfile, continuations joined.
type instruction struct{ verb, args string }

// stage is what follows a FROM.
type stage struct {
	name, base   string
	instructions []instruction
}

// parseDockerfile reads the stages of a Dockerfile.
func parseDockerfile(path string) ([]stage, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var stages []stage
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		verb, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb == "" || strings.HasPrefix(verb, "#") {
			continue
		}
		if verb == "FROM" {
			s, err := parseFrom(args)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			stages = append(stages, s)
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("%s: %s before the first FROM", path, verb)
		}
		last := &stages[len(stages)-1]
		last.instructions = append(last.instructions, instruction{verb, strings.TrimSpace(args)})
	}
	return stages, nil
}

// parseFrom reads "[--platform=P] BASE [AS NAME]".
func parseFrom(args string) (stage, error) {
	words := strings.Fields(args)
	if len(words) > 0 && strings.HasPrefix(words[0], "--platform=") {
		words = words[1:]
	}
	switch {
	case len(words) == 1:
		return stage{base: words[0]}, nil
	case len(words) == 3 && words[1] == "AS":
		return stage{base: words[0], name: words[2]}, nil
	}
	return stage{}, fmt.Errorf("FROM %s: not understood", args)
}

// copied is a file of the final stage: the one at source in the stage called from.
type copied struct{ from, source, target string }

func parseCopy(args string) (copied, error) {
	words := strings.Fields(args)
	if len(words) != 3 || !strings.HasPrefix(words[0], "--from=") {
		return copied{}, fmt.Errorf("COPY %s: want --from=STAGE FILE FILE", args)
	}
	return copied{from: strings.TrimPrefix(words[0], "--from="), source: words[1], target: words[2]}, nil
}

// assignment is NAME=VALUE, the value quoted or not.
var assignment = regexp.MustCompile(`([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)`)

// assignments reads the pairs of ENV, LABEL and ARG; variables are replaced by lookup.
func assignments(args string, lookup func(string) string) (map[string]string, error) {
	if rest := strings.TrimSpace(assignment.ReplaceAllString(args, "")); rest != "" {
		return nil, fmt.Errorf("%q: %q is not understood", args, rest)
	}
	out := map[string]string{}
	for _, m := range assignment.FindAllStringSubmatch(args, -1) {
		value := m[2]
		if strings.HasPrefix(value, `"`) {
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", args, err)
			}
			value = unquoted
		}
		out[m[1]] = os.Expand(value, lookup)
	}
	return out, nil
}

// words reads the JSON form of ENTRYPOINT and CMD.
func words(args string) ([]string, error) {
	var out []string
	if err := json.Unmarshal([]byte(args), &out); err != nil {
		return nil, fmt.Errorf("%s: want a JSON list: %w", args, err)
	}
	return out, nil
}
