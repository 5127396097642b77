package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
)

// UsageError is a mistake in the command line: the program ends with status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Main runs a program until it ends or a SIGINT or SIGTERM comes, which ends
// its context; a second signal ends the process at once. An error is written
// to stderr as "NAME: what went wrong". The result is the exit status: 0, 1,
// or 2 for a UsageError.
func Main(name string, args []string, stderr io.Writer, run func(ctx context.Context, args []string) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := run(ctx, args)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", name, strings.TrimSpace(err.Error()))
	var usage *UsageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// NewApp makes the command line of a program with --help and --version.
func NewApp(name, help string) *kingpin.Application {
	app := kingpin.New(name, help)
	app.UsageWriter(os.Stdout)
	app.Version(version.Print(name))
	app.HelpFlag.Short('h')
	return app
}

// Parse reads the command line. Its error is a UsageError that names the
// program's --help.
func Parse(app *kingpin.Application, args []string) (command string, err error) {
	args, err = inOurWay(app, args)
	if err == nil {
		command, err = app.Parse(args)
	}
	if err != nil {
		return "", &UsageError{fmt.Errorf("%w; %s --help lists what there is", err, app.Name)}
	}
	return command, nil
}

// inOurWay writes arguments for programs that read them with Go's flag package or
// pflag as kingpin wants them: --name for --name=true, --no-name for
// --name=false, and --name for -name. What stands behind -- is left.
func inOurWay(app *kingpin.Application, args []string) ([]string, error) {
	boolean := map[string]bool{}
	model := app.Model()
	note(boolean, model.FlagGroupModel, model.CmdGroupModel)
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...), nil
		}
		name, value, valued := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		isBool, known := boolean[name]
		if !known || len(name) < 2 || !strings.HasPrefix(arg, "-") {
			out = append(out, arg)
			continue
		}
		if isBool && valued {
			on, err := strconv.ParseBool(value)
			if err != nil {
				return nil, fmt.Errorf("%s: %q is neither true nor false", arg, value)
			}
			if arg = "--" + name; !on {
				arg = "--no-" + name
			}
		} else if !strings.HasPrefix(arg, "--") {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out, nil
}

// note tells of each flag by its name whether it is boolean in all commands that
// have it.
func note(boolean map[string]bool, flags *kingpin.FlagGroupModel, commands *kingpin.CmdGroupModel) {
	for _, f := range flags.Flags {
		was, known := boolean[f.Name]
		boolean[f.Name] = f.IsBoolFlag() && (was || !known)
	}
	for _, c := range commands.Commands {
		note(boolean, c.FlagGroupModel, c.CmdGroupModel)
	}
}

// Flags are those that all binaries share.
type Flags struct {
	listen []string
	socket bool
	config string
	pprof  bool
	log    promslog.Config
}

// flagger is what an application and a command of it have in common.
type flagger interface {
	Flag(name, help string) *kingpin.FlagClause
}

// NewFlags declares --web.listen-address, --web.systemd-socket,
// --web.config.file, --web.enable-pprof, --log.level and --log.format.
func NewFlags(app *kingpin.Application, address string) *Flags {
	f := &Flags{}
	app.Flag("web.systemd-socket", "Serve on the sockets that systemd passes instead of --web.listen-address.").BoolVar(&f.socket)
	f.Web(app, address)
	f.Log(app)
	return f
}

// Web declares the flags of the HTTP server.
func (f *Flags) Web(app flagger, address string) {
	app.Flag("web.listen-address", "Address to serve on; may be repeated. Port 0 picks a free one.").
		Default(address).StringsVar(&f.listen)
	app.Flag("web.config.file", "File with TLS and basic authentication, in the format of exporter-toolkit.").
		Default("").StringVar(&f.config)
	app.Flag("web.enable-pprof", "Serve Go's profiles at /debug/pprof/.").BoolVar(&f.pprof)
}

// Log declares the flags of the log.
func (f *Flags) Log(app *kingpin.Application) { promslogflag.AddFlags(app, &f.log) }

// Klog declares klog's flags of the log, which Log must have declared.
func (f *Flags) Klog(app *kingpin.Application) { Klog(app, &f.log) }

// Logger is the log that the flags ask for, on stderr.
func (f *Flags) Logger() *slog.Logger { return promslog.New(&f.log) }

// Options is a server's Options as the flags ask for.
func (f *Flags) Options(name string, logger *slog.Logger, registry prometheus.Registerer) Options {
	return Options{Name: name, Listen: f.listen, SystemdSocket: f.socket, WebConfigFile: f.config, PProf: f.pprof, Logger: logger, Registry: registry}
}
