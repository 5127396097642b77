// Package discover says what is scraped: it loads prometheus.yml with errors
// that name a file and a line, makes the built-in jobs of a host that has no
// such file, and runs the service discoveries that turn jobs into targets.
//
// The discoveries themselves are Prometheus' own and register themselves when
// their packages are imported; the binary decides which.
package discover

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"

	// A configuration with targets in it, in files or behind a URL must load
	// whatever else the binary links.
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
)

// Defaults fill what a configuration leaves open. Prometheus keeps them in
// package variables that its flags change; here each load gets its own.
type Defaults struct {
	// BodySizeLimit holds, in bytes, for each job that has no body_size_limit
	// of its own or from global. 0 means none.
	BodySizeLimit units.Base2Bytes
	// LogLevel holds when the file has no runtime.log_level; "" means info.
	LogLevel string
}

// An Error is what is wrong with a file, in one line.
type Error struct {
	// File is the path as it was given.
	File string
	// Line is where to look, from 1, or 0 when it is about the whole file.
	Line int
	// Err is the reason.
	Err error
}

// Error gives FILE:LINE: reason.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Load reads a prometheus.yml and the files named in its scrape_config_files.
// Every error about the content is an *Error.
func Load(path string, d Defaults, logger *slog.Logger) (*config.Config, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration %s does not exist; name another with --config.file: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	conf, err := parse(path, content, d, logger)
	if err != nil {
		return nil, err
	}
	conf.SetDirectory(filepath.Dir(path))
	if _, err := conf.GetScrapeConfigs(); err != nil {
		return nil, locateOther(err)
	}
	return conf, nil
}

// Parse is Load for content in memory that stands in no directory. name is
// what errors call it.
func Parse(name string, content []byte, d Defaults) (*config.Config, error) {
	return parse(name, content, d, nil)
}

func parse(name string, content []byte, d Defaults, logger *slog.Logger) (*config.Config, error) {
	if logger == nil {
		logger = promslog.NewNopLogger()
	}
	conf, err := config.Load(string(content), logger)
	if err != nil {
		return nil, locate(name, content, err)
	}
	d.apply(conf, content)
	return conf, nil
}

func (d Defaults) apply(conf *config.Config, content []byte) {
	if conf.GlobalConfig.BodySizeLimit == 0 {
		// Jobs from scrape_config_files take it from here when they are read.
		conf.GlobalConfig.BodySizeLimit = d.BodySizeLimit
	}
	for _, sc := range conf.ScrapeConfigs {
		if sc.BodySizeLimit == 0 {
			sc.BodySizeLimit = conf.GlobalConfig.BodySizeLimit
		}
	}
	var set struct {
		Runtime struct {
			LogLevel string `yaml:"log_level"`
		} `yaml:"runtime"`
	}
	// It has been parsed before; what does not fit here is simply not set.
	_ = yaml.Unmarshal(content, &set)
	if set.Runtime.LogLevel == "" && d.LogLevel != "" {
		conf.Runtime.LogLevel = config.LogLevel(d.LogLevel)
	}
}

var (
	lineRE     = regexp.MustCompile(`line (\d+): `)
	unknownRE  = regexp.MustCompile(`field (\S+) not found in type \S+`)
	fileErrRE  = regexp.MustCompile(`(?s)^(?:error reading |error in )?"?([^":]+)"?: (.*)$`)
	yamlNoise  = strings.NewReplacer("yaml: unmarshal errors:\n", "", "yaml: ", "", "\n", "; ")
	spacesRE   = regexp.MustCompile(`\s+`)
	plainTypRE = regexp.MustCompile(` into (\w+\.)?\w*[pP]lain\b`)
)

// locate turns an error of the whole file into one with a line: the line that
// the YAML parser names, else the entry that is to blame.
func locate(name string, content []byte, err error) error {
	msg := err.Error()
	line := 0
	if m := lineRE.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.Replace(msg, m[0], "", 1)
		if strings.Contains(msg, "did not find expected") {
			// The YAML parser counts from 0 here, and from 1 elsewhere.
			line = min(line+1, 1+bytes.Count(bytes.TrimSpace(content), []byte("\n")))
		}
	} else if strings.HasPrefix(msg, "yaml: ") {
		line = 1 // which it does not say
	} else {
		line = blame(content, msg)
	}
	return &Error{File: name, Line: line, Err: tidy(msg, err)}
}

// locateOther does the same for a file among scrape_config_files, which the
// message starts with.
func locateOther(err error) error {
	m := fileErrRE.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("scrape_config_files: %w", err)
	}
	content, rerr := os.ReadFile(m[1])
	if rerr != nil {
		return fmt.Errorf("scrape_config_files: %w", err)
	}
	return locate(m[1], content, errors.New(m[2]))
}

// reason is an error whose text has been made fit for one line.
type reason struct {
	text string
	err  error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.err }

func tidy(msg string, err error) error {
	msg = unknownRE.ReplaceAllString(msg, `unknown field "$1"`)
	msg = plainTypRE.ReplaceAllString(msg, "")
	msg = yamlNoise.Replace(msg)
	return &reason{text: strings.TrimSpace(spacesRE.ReplaceAllString(msg, " ")), err: err}
}
