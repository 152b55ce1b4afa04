// Read a configuration as kind does and print it with kind's defaults, or say which field kind would refuse.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kindcheck FILE")
		os.Exit(2)
	}
	config, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(config)
}

func read(path string) (*v1alpha4.Cluster, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	config := &v1alpha4.Cluster{}
	if err := decoder.Decode(config); err != nil {
		return nil, err
	}
	v1alpha4.SetDefaultsCluster(config)
	return config, nil
}
