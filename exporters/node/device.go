package node

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// number is an attribute of a device and what it is exposed as.
type number struct {
	file   string // below the device's directory
	family *metric.Family
	// factor or divisor gives the base unit; 0 is 1. Which of the two it is
	// decides about the last bit, and is as in node_exporter.
	factor, divisor float64
}

// deviceNumbers are the attributes of a kind of device, a sample each.
type deviceNumbers []number

func (n deviceNumbers) families() []*metric.Family {
	all := make([]*metric.Family, len(n))
	for i := range n {
		all[i] = n[i].family
	}
	return all
}

// collect adds those attributes that the device in dir has. One that cannot be
// read does not hide the others.
func (n deviceNumbers) collect(b *metric.Batch, dir string, read func(path string) (float64, error), labels ...string) error {
	var errs error
	for i := range n {
		v, err := read(filepath.Join(dir, n[i].file))
		switch {
		case err == nil:
			b.Add(n[i].family, n[i].scale(v), labels...)
		case !absent(err):
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (n *number) scale(v float64) float64 {
	if n.factor != 0 {
		v *= n.factor
	}
	if n.divisor != 0 {
		v /= n.divisor
	}
	return v
}

// unsigned reads an attribute for deviceNumbers.
func (r *reader) unsigned(path string) (float64, error) {
	v, err := r.uint(path)
	return float64(v), err
}

// signed reads an attribute for deviceNumbers.
func (r *reader) signed(path string) (float64, error) {
	v, err := r.int(path)
	return float64(v), err
}

// label reads an attribute that is text. One that the device lacks, or that
// only root may read, is empty.
func (r *reader) label(path string) (string, error) {
	data, err := r.text(path)
	if absent(err) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	return string(data), err
}

// labels reads several attributes of the directory as text.
func (r *reader) labels(dir string, files ...string) ([]string, error) {
	texts := make([]string, len(files))
	var errs error
	for i, file := range files {
		text, err := r.label(filepath.Join(dir, file))
		texts[i], errs = text, errors.Join(errs, err)
	}
	return texts, errs
}

// numbered says whether a name is the prefix with a decimal number behind it,
// and gives the number as it stands there.
func numbered(name, prefix string) (number string, ok bool) {
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return "", false
	}
	number = name[len(prefix):]
	return number, digits([]byte(number))
}

// present lists a directory whose absence is nothing to report.
func present(dir string) ([]string, error) {
	names, err := entries(dir)
	if errors.Is(err, collect.ErrNoData) {
		return nil, nil
	}
	return names, err
}

// unreadable says that a file or directory is not there for this process.
func unreadable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, collect.ErrNoData)
}

// notDirectory says that part of a path was a file.
func notDirectory(err error) bool { return errors.Is(err, unix.ENOTDIR) }

// oneIf is the value of a sample that says yes (1) or no (0).
func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
