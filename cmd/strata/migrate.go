package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/pipeline/check"
	"github.com/strata-metrics/strata/pipeline/migrate"
)

// migrateCommand is `strata migrate`.
func migrateCommand() command {
	return command{name: "migrate", help: "Read what you have for prometheus-adapter or KEDA; say what of it is served as it is, what in another way, and what is not.",
		setup: func(cmd *kingpin.CmdClause, _ *env) func(context.Context) error {
			m := &migration{in: os.Stdin, out: os.Stdout}
			m.declare(cmd.Command("adapter", "Read the configuration of prometheus-adapter: its file, ConfigMap, chart values or Deployment."), m.adapter)
			keda := cmd.Command("keda", "Read ScaledObjects and ScaledJobs, as kubectl get -o yaml gives them.")
			m.declare(keda, m.keda)
			keda.Flag("write", "Directory to write what takes over to: HPAs, external rules, and ScaledObjects that ask Strata. Files that are there are not replaced.").
				PlaceHolder("<dir>").StringVar(&m.dir)
			keda.Flag("scaler-address", "Where KEDA reaches Strata's external scaler (--keda.listen-address), for what stays in KEDA.").
				Default(migrate.DefaultScalerAddress).StringVar(&m.options.ScalerAddress)
			return func(context.Context) error { return m.run() }
		}}
}

// maxInput bounds what is read of a file; a list of all objects of a large
// cluster is far below it.
const maxInput = 64 << 20

// migration is one run of the command.
type migration struct {
	paths   []string
	output  string
	dir     string
	options migrate.Options
	in      io.Reader
	out     io.Writer
	read    func() (*migrate.Report, error)
}

func (m *migration) declare(cmd *kingpin.CmdClause, read func() (*migrate.Report, error)) {
	cmd.Arg("path", "File, directory whose *.yml, *.yaml and *.json are read, or - for standard input.").Required().StringsVar(&m.paths)
	cmd.Flag("output", "table for people, json for programs.").Default("table").EnumVar(&m.output, "table", "json")
	cmd.Action(func(*kingpin.ParseContext) error {
		m.read = read
		return nil
	})
}

func (m *migration) run() error {
	r, err := m.read()
	if err != nil {
		return err
	}
	show := r.Table
	if m.output == "json" {
		show = r.JSON
	}
	if err := show(m.out); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := m.write(r); err != nil {
		return err
	}
	if n := r.Count(migrate.NotServed); n > 0 {
		return fmt.Errorf("not served: %d of %d", n, len(r.Items))
	}
	return nil
}

func (m *migration) adapter() (*migrate.Report, error) {
	files, err := m.inputs()
	if err != nil {
		return nil, err
	}
	all := &migrate.Report{}
	for _, f := range files {
		r, err := migrate.Adapter(f, m.options)
		if err != nil {
			return nil, err
		}
		all.Items = append(all.Items, r.Items...)
		all.Notes = r.Notes // those of each are the same
	}
	return all, nil
}

func (m *migration) keda() (*migrate.Report, error) {
	files, err := m.inputs()
	if err != nil {
		return nil, err
	}
	return migrate.KEDA(files, m.options)
}

// inputs reads the files behind the paths.
func (m *migration) inputs() ([]migrate.Input, error) {
	var out []migrate.Input
	for _, path := range m.paths {
		if path == "" { // what kingpin makes of -
			data, err := limited(m.in)
			if err != nil {
				return nil, fmt.Errorf("standard input: %w", err)
			}
			out = append(out, migrate.Input{Name: "-", Content: data})
			continue
		}
		found, err := check.Find(path)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no *.yml, *.yaml or *.json", path)
		}
		for _, file := range found {
			f, err := os.Open(file)
			if err != nil {
				return nil, err
			}
			data, err := limited(f)
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, migrate.Input{Name: file, Content: data})
		}
	}
	return out, nil
}

func limited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("larger than %d MiB", maxInput>>20)
	}
	return data, err
}

// write puts the files of a report into --write. One that is there and has
// other content stays, and is an error.
func (m *migration) write(r *migrate.Report) error {
	if m.dir == "" {
		return nil
	}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return fmt.Errorf("--write: %w", err)
	}
	for _, f := range r.Files {
		path := filepath.Join(m.dir, filepath.Base(f.Name))
		out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			if old, readErr := os.ReadFile(path); readErr == nil && bytes.Equal(old, f.Content) {
				continue
			}
			return fmt.Errorf("--write: %s is there with other content; remove it or give another directory", path)
		}
		if err != nil {
			return fmt.Errorf("--write: %w", err)
		}
		_, err = out.Write(f.Content)
		if err = errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("--write: %w", err)
		}
	}
	return nil
}
