package serve

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/common/promslog"
)

// Klog declares the flags that the programs of Kubernetes have for their logs
// (k8s.io/klog/v2, and --logging-format of k8s.io/component-base), so that the
// command line of one that is replaced can stay as it is. What they say of the
// form of a line changes nothing, and the log goes to stderr: a flag that names a
// file for it is refused.
func Klog(app flagger, log *promslog.Config) {
	app.Flag("v", "How much is logged, as the programs of Kubernetes count it: from 4 on as --log.level=debug.").
		Short('v').SetValue(&verbosity{log: log})
	app.Flag("logging-format", "Form of the log by the name of Kubernetes' programs: text, or json as --log.format=json.").
		Hidden().SetValue(&logFormat{log: log})
	for _, name := range klogSwitches() {
		app.Flag(name, "Taken for compatibility.").Hidden().Bool()
	}
	for _, name := range klogValues() {
		app.Flag(name, "Taken for compatibility.").Hidden().String()
	}
	for _, name := range []string{"log_dir", "log_file"} {
		app.Flag(name, "Refused, since the log goes to stderr.").Hidden().SetValue(&logFile{name: name})
	}
}

func klogSwitches() []string {
	return []string{"add_dir_header", "alsologtostderr", "logtostderr", "one_output", "skip_headers", "skip_log_headers"}
}

func klogValues() []string {
	return []string{"log_backtrace_at", "log_file_max_size", "log-flush-frequency", "stderrthreshold", "vmodule"}
}

// KlogIdle are the flags of Klog that change nothing.
func KlogIdle() []string { return append(klogSwitches(), klogValues()...) }

// debugVerbosity is where programs of Kubernetes begin to log for debugging.
const debugVerbosity = 4

// verbosity is a flag in klog's way, -v=2 or --v=2.
type verbosity struct {
	log *promslog.Config
	n   int
}

// Set implements kingpin.Value.
func (v *verbosity) Set(s string) error {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "=")) // kingpin leaves it on short flags
	if err != nil || n < 0 {
		return fmt.Errorf("-v: %q is not a number from 0 on", s)
	}
	if v.n = n; n >= debugVerbosity {
		return v.log.Level.Set("debug")
	}
	return nil
}

// String implements kingpin.Value.
func (v *verbosity) String() string { return strconv.Itoa(v.n) }

// logFormat is --logging-format.
type logFormat struct{ log *promslog.Config }

// Set implements kingpin.Value.
func (f *logFormat) Set(s string) error {
	switch s {
	case "json":
		return f.log.Format.Set(s)
	case "text":
		return nil
	default:
		return fmt.Errorf("--logging-format: %q is neither text nor json", s)
	}
}

// String implements kingpin.Value.
func (f *logFormat) String() string { return "text" }

// logFile is a flag that asks for a log in a file.
type logFile struct{ name string }

// Set implements kingpin.Value.
func (f *logFile) Set(s string) error {
	if s == "" {
		return nil
	}
	return fmt.Errorf("--%s=%s: the log goes to stderr; leave the flag out, and send stderr where it is wanted", f.name, s)
}

// String implements kingpin.Value.
func (f *logFile) String() string { return "" }
