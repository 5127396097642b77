package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServes(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{
		"":                          false,
		"--help":                    false,
		"up":                        true,
		"--log.level debug server":  true,
		"core --kubeconfig x":       true,
		"check server":              false,
		"probe --ready http://core": false,
	} {
		require.Equal(t, want, serves(strings.Fields(args)), args)
	}
}
