//go:build !wasm

package plugin

import (
	"fmt"
	"os"
)

// Export makes p the plugin of a component; on other machines, where unit tests run, there is none.
func Export(Plugin) {}

func entry(level Level, message string) {
	fmt.Fprintf(os.Stderr, "%v: %s\n", level, message)
}
