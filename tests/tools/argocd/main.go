// Reads each file as Argo CD's own type for its kind, and refuses what that type does not know.
package main

import (
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"sigs.k8s.io/yaml"
)

func main() {
	for _, path := range os.Args[1:] {
		if err := read(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

func read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return err
	}
	kinds := map[string]any{
		"AppProject":     &v1alpha1.AppProject{},
		"Application":    &v1alpha1.Application{},
		"ApplicationSet": &v1alpha1.ApplicationSet{},
	}
	kind, known := kinds[head.Kind]
	if !known {
		return fmt.Errorf("Argo CD has no kind %q", head.Kind)
	}
	return yaml.UnmarshalStrict(text, kind)
}
