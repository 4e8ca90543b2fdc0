// Package outside is what a plugin may have besides its rows, where the manifest grants it: `allow`. A component that calls one of these functions
// imports what it needs, and is refused where that is not granted; docs/security.md says what each gives. In `go test` they are this machine's.
//
// Without it time stands still (time.Now), random numbers repeat, and there is no environment. Rows that come again after a crash see another time and
// other numbers than before.
package outside

import "time"

// Now is the time of day: allow = ["clock"].
func Now() time.Time { return now() }

// Random fills bytes with random numbers: allow = ["random"].
func Random(bytes []byte) { random(bytes) }

// Env is a variable of the environment that is granted by its name: allow = ["env:NAME"]. False: it is not.
func Env(name string) (string, bool) { return env(name) }
