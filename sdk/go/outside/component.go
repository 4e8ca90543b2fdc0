//go:build wasm

package outside

import (
	"strings"
	"time"

	environment "tidegate/plugin/internal/bindings/wasi_cli_environment"
	clock "tidegate/plugin/internal/bindings/wasi_clocks_wall_clock"
	chance "tidegate/plugin/internal/bindings/wasi_random_random"
)

func now() time.Time {
	at := clock.Now()
	return time.Unix(int64(at.Seconds), int64(at.Nanoseconds)).UTC()
}

// The host gives a MiB at once.
const piece = 1 << 20

func random(bytes []byte) {
	for len(bytes) > 0 {
		n := copy(bytes, chance.GetRandomBytes(uint64(min(len(bytes), piece))))
		bytes = bytes[n:]
	}
}

func env(name string) (string, bool) {
	for _, variable := range environment.GetEnvironment() {
		if variable.F0 == name {
			return strings.Clone(variable.F1), true
		}
	}
	return "", false
}
