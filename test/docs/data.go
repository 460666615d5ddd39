package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/pkg/cni"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// Validate checks a block of json or yaml: network configs through the plugin's parser, annotations and objects of
// Kubernetes as their types, with every field known. Of other types only the syntax is checked.
func (b Block) Validate() error {
	var err error
	switch b.Lang {
	case "json":
		err = validateJSON([]byte(b.Text))
	case "yaml":
		for part := range strings.SplitSeq("\n"+b.Text, "\n---\n") {
			err = errors.Join(err, validateYAML([]byte(part)))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	return nil
}

func validateJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		var bonds []v1.Bond
		return strict(text, &bonds)
	}
	var config struct {
		Type    string
		Plugins []json.RawMessage
		Name    string
		Version string `json:"cniVersion"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	if config.Type == "bond" {
		_, err := cni.ParseConfig(text, cni.Args{})
		return err
	}
	for _, plugin := range config.Plugins {
		var fields map[string]any
		if err := json.Unmarshal(plugin, &fields); err != nil {
			return err
		}
		fields["name"], fields["cniVersion"] = config.Name, config.Version
		single, err := json.Marshal(fields)
		if err == nil && fields["type"] == "bond" {
			err = validateJSON(single)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// strict decodes one value without unknown fields.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

func validateYAML(text []byte) error {
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	var object struct {
		APIVersion, Kind string
		Spec             struct{ Config string }
	}
	if err = json.Unmarshal(text, &object); err != nil {
		return err
	}
	switch {
	case object.Kind == "NetworkAttachmentDefinition":
		return validateJSON([]byte(object.Spec.Config))
	case object.Kind == "" && bytes.Contains(text, []byte(`"readinessGates"`)):
		return strict(text, &corev1.Pod{}) // a part of one
	case object.Kind == "" || object.APIVersion == "":
		return nil
	case !scheme.Scheme.Recognizes(schema.FromAPIVersionAndKind(object.APIVersion, object.Kind)):
		return nil // of an operator
	}
	_, _, err = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil, nil)
	return err
}
