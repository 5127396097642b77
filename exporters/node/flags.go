package node

import (
	"fmt"
	"regexp"

	"github.com/alecthomas/kingpin/v2"
)

// Flags are node_exporter's flags for the collectors and paths, read by
// Options after the command line was parsed.
type Flags struct{ flagSet }

// flagSet is what the flags of the collectors write to.
type flagSet struct {
	options  Options
	switches []*collectorSwitch
	filters  []*filterFlags
	patterns []patternFlag
	// finish runs after the command line was read, for what a flag alone
	// cannot check.
	finish []func() error
}

// patternFlag is a single pattern and where it goes.
type patternFlag struct {
	value  *pattern
	target **regexp.Regexp
}

// pattern declares a flag that is a regular expression, by default the target.
func (f *flagSet) pattern(app *kingpin.Application, name, help string, target **regexp.Regexp) {
	p := patternFlag{&pattern{flag: name}, target}
	clause := app.Flag(name, help)
	if *target != nil {
		clause.Default((*target).String())
	}
	clause.SetValue(p.value)
	f.patterns = append(f.patterns, p)
}

type collectorSwitch struct {
	name    string
	on, set bool
}

// NewFlags declares --path.*, --collector.<name> with its --no- form, and the
// collectors' own flags.
func NewFlags(app *kingpin.Application) *Flags {
	f := &Flags{flagSet{options: DefaultOptions()}}
	o := &f.options
	app.Flag("path.procfs", "procfs mountpoint.").Default(o.Procfs).StringVar(&o.Procfs)
	app.Flag("path.sysfs", "sysfs mountpoint.").Default(o.Sysfs).StringVar(&o.Sysfs)
	app.Flag("path.rootfs", "rootfs mountpoint.").Default(o.Rootfs).StringVar(&o.Rootfs)
	app.Flag("path.udev.data", "udev data path.").Default(o.UdevData).StringVar(&o.UdevData)
	app.Flag("collector.disable-defaults", "Switch off all collectors that are not switched on by name.").
		BoolVar(&o.DisableDefaults)
	for _, d := range collectors() {
		s := &collectorSwitch{name: d.name}
		state := "disabled"
		if d.enabled {
			state = "enabled"
		}
		app.Flag("collector."+d.name, fmt.Sprintf("Enable the %s collector (default: %s).", d.name, state)).
			Default(fmt.Sprint(d.enabled)).IsSetByUser(&s.set).BoolVar(&s.on)
		f.switches = append(f.switches, s)
		if d.flags != nil {
			d.flags(app, &f.flagSet)
		}
	}
	return f
}

// Options gives what the command line asks for. It fails when two flags
// contradict each other, and names them.
func (f *Flags) Options() (Options, error) {
	for _, filter := range f.filters {
		if err := filter.resolve(); err != nil {
			return Options{}, err
		}
	}
	for _, p := range f.patterns {
		*p.target = p.value.Regexp
	}
	for _, finish := range f.finish {
		if err := finish(); err != nil {
			return Options{}, err
		}
	}
	o := f.options
	o.Enabled = map[string]bool{}
	for _, s := range f.switches {
		if s.set {
			o.Enabled[s.name] = s.on
		}
	}
	return o, nil
}

// filterFlags are the flags --collector.<name>-include and -exclude of a
// Filter. Given include alone, the default of exclude does not hold.
type filterFlags struct {
	target           *Filter
	name             string
	include, exclude *pattern
	excludeSet       bool
	former           []formerFlag
}

// formerFlag is a name that node_exporter still takes for include or exclude.
type formerFlag struct {
	name     string
	value    *pattern
	now      string
	instead  *pattern
	excludes bool
}

// filter declares the two flags of a Filter, whose Exclude is the default.
func (f *flagSet) filter(app *kingpin.Application, name, what string, target *Filter) *filterFlags {
	flags := &filterFlags{target: target, name: "collector." + name}
	in, out := flags.name+"-include", flags.name+"-exclude"
	flags.include, flags.exclude = &pattern{flag: in}, &pattern{flag: out}
	app.Flag(in, fmt.Sprintf("Regexp of %s to include (mutually exclusive to %s-exclude).", what, name)).
		SetValue(flags.include)
	clause := app.Flag(out, fmt.Sprintf("Regexp of %s to exclude (mutually exclusive to %s-include).", what, name)).
		IsSetByUser(&flags.excludeSet)
	if target.Exclude != nil {
		clause.Default(target.Exclude.String())
	}
	clause.SetValue(flags.exclude)
	f.filters = append(f.filters, flags)
	return flags
}

// formerly declares the deprecated names of the two flags. Empty is none.
func (f *filterFlags) formerly(app *kingpin.Application, include, exclude string) {
	for _, old := range []formerFlag{
		{name: include, now: f.name + "-include", instead: f.include},
		{name: exclude, now: f.name + "-exclude", instead: f.exclude, excludes: true},
	} {
		if old.name == "" {
			continue
		}
		old.value = &pattern{flag: old.name}
		app.Flag(old.name, "DEPRECATED: Use --"+old.now+".").Hidden().SetValue(old.value)
		f.former = append(f.former, old)
	}
}

// resolveFormer makes what was given by a deprecated name the value of its flag.
func (f *filterFlags) resolveFormer() error {
	for _, old := range f.former {
		if old.value.Regexp == nil {
			continue
		}
		if old.instead.Regexp != nil && (!old.excludes || f.excludeSet) {
			return fmt.Errorf("--%s and --%s are the same flag; give the second alone", old.name, old.now)
		}
		old.instead.Regexp = old.value.Regexp
		f.excludeSet = f.excludeSet || old.excludes
	}
	return nil
}

func (f *filterFlags) resolve() error {
	if err := f.resolveFormer(); err != nil {
		return err
	}
	f.target.Include, f.target.Exclude = f.include.Regexp, f.exclude.Regexp
	if f.include.Regexp == nil {
		return nil
	}
	if f.excludeSet && f.exclude.Regexp != nil {
		return fmt.Errorf("--%s-include=%q and --%s-exclude=%q are mutually exclusive; give one of them",
			f.name, f.include, f.name, f.exclude)
	}
	f.target.Exclude = nil
	return nil
}

// pattern is the value of a flag that takes a regular expression, or nothing.
type pattern struct {
	flag string
	*regexp.Regexp
}

// Set compiles the value. Its error names the flag, which kingpin's does not.
func (p *pattern) Set(s string) error {
	if s == "" {
		p.Regexp = nil
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return fmt.Errorf("--%s=%q: %w", p.flag, s, err)
	}
	p.Regexp = re
	return nil
}

// String is the pattern as it was given.
func (p *pattern) String() string {
	if p.Regexp == nil {
		return ""
	}
	return p.Regexp.String()
}
