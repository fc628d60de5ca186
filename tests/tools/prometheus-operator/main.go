// Reads each document of its input as the Prometheus Operator's own type for its kind, and refuses what that does not know.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = read(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(text []byte) error {
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			return err
		}
		kinds := map[string]any{"PodMonitor": &monitoring.PodMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{}}
		kind, known := kinds[head.Kind]
		if !known {
			return fmt.Errorf("no kind %q is expected here", head.Kind)
		}
		if err := yaml.UnmarshalStrict(document, kind); err != nil {
			return err
		}
	}
	return nil
}
