package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/godbus/dbus/v5"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// SystemdOptions of the collector systemd.
type SystemdOptions struct {
	// Units are those shown, by their whole name.
	Units Filter
	// Private asks systemd itself at its own socket, which only root may.
	Private bool
	// Tasks, Restarts and StartTimes show more of each unit.
	Tasks, Restarts, StartTimes bool
}

const (
	defaultUnits         = ".+"
	defaultUnitsExcluded = `.+\.(automount|device|mount|scope|slice)`
)

func systemdFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Systemd
	f.wholeName(app, "collector.systemd.unit-include", "collector.systemd.unit-whitelist",
		"Regexp of systemd units to include. Units must both match include and not match exclude to be included.",
		defaultUnits, &o.Units.Include)
	f.wholeName(app, "collector.systemd.unit-exclude", "collector.systemd.unit-blacklist",
		"Regexp of systemd units to exclude. Units must both match include and not match exclude to be included.",
		defaultUnitsExcluded, &o.Units.Exclude)
	app.Flag("collector.systemd.private", "Ask systemd at its own socket, without the bus (needs root).").Hidden().BoolVar(&o.Private)
	app.Flag("collector.systemd.enable-task-metrics", "Enables service unit tasks metrics unit_tasks_current and unit_tasks_max.").
		BoolVar(&o.Tasks)
	app.Flag("collector.systemd.enable-restarts-metrics", "Enables service unit metric service_restart_total.").BoolVar(&o.Restarts)
	app.Flag("collector.systemd.enable-start-time-metrics", "Enables service unit metric unit_start_time_seconds.").
		BoolVar(&o.StartTimes)
}

// wholeName is a pattern that the whole of a name must match.
func wholeName(s string) string { return "^(?:" + s + ")$" }

// mustWholeName compiles a pattern of the source.
func mustWholeName(s string) *regexp.Regexp { return mustPattern(wholeName(s)) }

// wholeName declares a pattern with its old name, which is hidden.
func (f *flagSet) wholeName(app *kingpin.Application, name, old, help, fallback string, target **regexp.Regexp) {
	var set bool
	value := app.Flag(name, help).Default(fallback).IsSetByUser(&set).String()
	deprecated := app.Flag(old, "Old name of --"+name+".").Hidden().String()
	f.finish = append(f.finish, func() (err error) {
		used, text := name, *value
		if *deprecated != "" {
			if set {
				return fmt.Errorf("--%s=%q and --%s=%q are the same; give the second alone", old, *deprecated, name, *value)
			}
			used, text = old, *deprecated
		}
		if *target, err = regexp.Compile(wholeName(text)); err != nil {
			return fmt.Errorf("--%s=%q: %w", used, text, err)
		}
		return nil
	})
}

const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	systemdManager = systemdName + ".Manager"
	// systemdSocket is where systemd listens itself.
	systemdSocket = "unix:path=/run/systemd/private"
	// systemdWithState is the first version that has SystemState and the time
	// of a timer's last trigger.
	systemdWithState = 212
)

// systemdVersion finds the number in a version such as 252.39-1~deb12u1.
const systemdVersion = `[0-9]{3,}(\.[0-9]+)?`

// unitStates are shown for every unit, 0 for those it is not in.
func unitStates() []string {
	return []string{"active", "activating", "deactivating", "inactive", "failed"}
}

// systemd asks systemd for its units over D-Bus, see
// org.freedesktop.systemd1(5).
type systemd struct {
	options         SystemdOptions
	address         string // of the system bus, empty for the usual one
	private         string // address of systemd itself
	root            bool
	version         *regexp.Regexp
	filter          *filterCache
	state, start    *metric.Family
	tasks, tasksMax *metric.Family
	running, units  *metric.Family
	restarts, timer *metric.Family
	sockets         [3]*metric.Family
	versions, virt  *metric.Family
}

func newSystemd(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_systemd_"+name, help, labels...)
	}
	return &systemd{
		options: o.Systemd, address: o.systemBus, private: systemdSocket, root: os.Geteuid() == 0,
		version: regexp.MustCompile(systemdVersion), filter: newFilterCache(o.Systemd.Units),
		state:    gauge("unit_state", "Systemd unit", "name", "state", "type"),
		start:    gauge("unit_start_time_seconds", "Start time of the unit since unix epoch in seconds.", "name"),
		tasks:    gauge("unit_tasks_current", "Current number of tasks per Systemd unit", "name"),
		tasksMax: gauge("unit_tasks_max", "Maximum number of tasks per Systemd unit", "name"),
		running:  gauge("system_running", "Whether the system is operational (see 'systemctl is-system-running')"),
		units:    gauge("units", "Summary of systemd unit states", "state"),
		restarts: metric.NewCounter("node_systemd_service_restart_total", "Service unit count of Restart triggers", "name"),
		timer:    gauge("timer_last_trigger_seconds", "Seconds since epoch of last trigger.", "name"),
		sockets: [3]*metric.Family{
			metric.NewCounter("node_systemd_socket_accepted_connections_total", "Total number of accepted socket connections", "name"),
			gauge("socket_current_connections", "Current number of socket connections", "name"),
			gauge("socket_refused_connections_total", "Total number of refused socket connections", "name"),
		},
		versions: gauge("version", "Detected systemd version", "version"),
		virt:     gauge("virtualization_info", "Detected virtualization technology", "virtualization_type"),
	}
}

// Families implements collect.Collector.
func (c *systemd) Families() []*metric.Family {
	return append(c.sockets[:], c.state, c.start, c.tasks, c.tasksMax, c.running, c.units, c.restarts, c.timer, c.versions, c.virt)
}

// Collect implements collect.Collector.
func (c *systemd) Collect(ctx context.Context, b *metric.Batch) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	var units []systemdUnit
	if err := conn.call(ctx, systemdName, systemdPath, systemdManager+".ListUnits", &units); err != nil {
		return fmt.Errorf("asking systemd for its units: %w", err)
	}
	slices.SortFunc(units, func(a, b systemdUnit) int { return strings.Compare(a.Name, b.Name) })
	c.summarize(b, units)
	units = slices.DeleteFunc(units, func(u systemdUnit) bool {
		return u.LoadState != "loaded" || !c.filter.pass([]byte(u.Name))
	})
	properties, wants := c.wanted(units)
	err = conn.read(ctx, systemdName, properties)
	withState := c.addManager(b, properties)
	for i := range wants {
		wants[i].add(b, c, withState)
	}
	if err != nil {
		return fmt.Errorf("asking systemd: %w", err)
	}
	return nil
}

// dial connects to the bus. As node_exporter it asks systemd itself when there
// is none and it is root.
func (c *systemd) dial(ctx context.Context) (*bus, error) {
	if c.options.Private {
		return dialPeer(ctx, c.private)
	}
	b, err := dialSystemBus(ctx, c.address)
	if err == nil || !c.root || ctx.Err() != nil {
		return b, err
	}
	b, privateErr := dialPeer(ctx, c.private)
	if privateErr != nil {
		return nil, errors.Join(err, privateErr)
	}
	return b, nil
}

// systemdUnit is an element of the answer of ListUnits, whose order it has.
type systemdUnit struct {
	Name, Description, LoadState, ActiveState, SubState, Followed string
	Path                                                          dbus.ObjectPath
	JobID                                                         uint32
	JobType                                                       string
	JobPath                                                       dbus.ObjectPath
}

// summarize counts the units by state.
func (c *systemd) summarize(b *metric.Batch, units []systemdUnit) {
	states := unitStates()
	counts := map[string]int{}
	for i := range units {
		state := units[i].ActiveState
		if counts[state]++; !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	for _, state := range states {
		b.Add(c.units, float64(counts[state]), state)
	}
}

// Places of the manager's properties among those that are read.
const (
	managerVersion = iota
	managerVirtualization
	managerState
	managerProperties
)

// unitWants are the properties of a unit that are read, each nil or with an
// answer.
type unitWants struct {
	unit                                     *systemdUnit
	kind, restarts, tasks, tasksMax, trigger *busProperty
	start                                    *busProperty
	sockets                                  [3]*busProperty
}

// wanted lists what is asked for: the manager's properties and those of each
// unit that its type has.
func (c *systemd) wanted(units []systemdUnit) ([]busProperty, []unitWants) {
	most := managerProperties + 5*len(units) // what is pointed to must not move
	properties := make([]busProperty, 0, most)
	for _, name := range [managerProperties]string{"Version", "Virtualization", "SystemState"} {
		properties = append(properties, busProperty{path: systemdPath, interfaceOf: systemdManager, name: name})
	}
	wants := make([]unitWants, len(units))
	for i := range units {
		u, w := &units[i], &wants[i]
		w.unit = u
		ask := func(of, name string) *busProperty {
			properties = append(properties, busProperty{path: u.Path, interfaceOf: systemdName + "." + of, name: name})
			return &properties[len(properties)-1]
		}
		switch u.Name[strings.LastIndexByte(u.Name, '.')+1:] {
		case "service":
			w.kind = ask("Service", "Type")
			if c.options.Restarts {
				w.restarts = ask("Service", "NRestarts") // since systemd 235
			}
			if c.options.Tasks {
				w.tasks, w.tasksMax = ask("Service", "TasksCurrent"), ask("Service", "TasksMax")
			}
		case "mount":
			w.kind = ask("Mount", "Type")
		case "timer":
			w.trigger = ask("Timer", "LastTriggerUSec")
		case "socket":
			for n, name := range []string{"NAccepted", "NConnections", "NRefused"} { // the last since systemd 239
				w.sockets[n] = ask("Socket", name)
			}
		}
		if c.options.StartTimes && u.ActiveState == "active" {
			w.start = ask("Unit", "ActiveEnterTimestamp")
		}
	}
	return properties, wants
}

// addManager adds what the manager says of itself. The result says whether it
// is new enough to know its state.
func (c *systemd) addManager(b *metric.Batch, properties []busProperty) (withState bool) {
	text := properties[managerVersion].text
	number, err := strconv.ParseFloat(c.version.FindString(text), 64)
	if err != nil {
		number, text = 0, ""
	}
	b.Add(c.versions, number, text)
	virt := &properties[managerVirtualization]
	switch {
	case !virt.isText:
		b.Add(c.virt, 1, "unknown")
	case virt.text == "":
		b.Add(c.virt, 1, "none")
	default:
		b.Add(c.virt, 1, virt.text)
	}
	withState = number >= systemdWithState
	if state := &properties[managerState]; withState && state.isText {
		b.Add(c.running, oneIf(state.text == "running"))
	}
	return withState
}

// add adds the samples of a unit. What it does not have is left out.
func (w *unitWants) add(b *metric.Batch, c *systemd, withState bool) {
	name, kind := w.unit.Name, ""
	if w.kind != nil {
		kind = w.kind.text
	}
	for _, state := range unitStates() {
		b.Add(c.state, oneIf(state == w.unit.ActiveState), name, state, kind)
	}
	number := func(f *metric.Family, p *busProperty, divisor float64) {
		if p != nil && p.numeric {
			b.Add(f, float64(p.number)/divisor, name)
		}
	}
	const micro = 1e6
	number(c.restarts, w.restarts, 1)
	for i, p := range []*busProperty{w.tasks, w.tasksMax} {
		if p != nil && p.number != math.MaxUint64 { // which is no limit, or not counted
			number([]*metric.Family{c.tasks, c.tasksMax}[i], p, 1)
		}
	}
	if withState {
		number(c.timer, w.trigger, micro)
	}
	for i, p := range w.sockets {
		number(c.sockets[i], p, 1)
	}
	if c.options.StartTimes && w.unit.ActiveState != "active" {
		b.Add(c.start, 0, name)
	}
	number(c.start, w.start, micro)
}
