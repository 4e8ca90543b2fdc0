package plugin

import (
	"fmt"
	"strings"
)

// Level of an entry of the log.
type Level uint8

const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

func (level Level) String() string {
	return [...]string{"debug", "info", "warn", "error"}[level]
}

// Log writes an entry, which the host shows with the plugin's name. Never log row values.
func Log(level Level, format string, arguments ...any) {
	entry(level, utf8(fmt.Sprintf(format, arguments...)))
}

// utf8 mends a text that crosses the boundary as a string: the host refuses others.
func utf8(text string) string {
	return strings.ToValidUTF8(text, "?")
}
