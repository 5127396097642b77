package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// pciNames knows the names of PCI devices from a file pci.ids, see
// update-pciids(8). The file has some 40,000 names of which a machine needs a
// few, so it is read when a device is seen first and only these are kept.
type pciNames struct {
	paths []string
	given bool // by the user, who wants to know when it is not there
	// names by keys: v and the vendor, d and vendor and device, s and these and
	// the subsystem's, c and two to six digits of a class. Empty when the file
	// does not have it.
	names map[string]string
	known map[pciIDs][]string // the labels of a device
	// err is what became of the last reading. The names may be missing then.
	err error
}

func newPCINames(file string) *pciNames {
	n := &pciNames{
		paths: []string{"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"},
		names: map[string]string{}, known: map[pciIDs][]string{},
	}
	if file != "" {
		n.paths, n.given = []string{file}, true
	}
	return n
}

// of gives the names of vendor, device, subsystem's vendor and device, and
// class. What has no name is called by its number.
func (n *pciNames) of(ids pciIDs) []string {
	ids[pciRevision] = 0 // has no name
	labels, ok := n.known[ids]
	if !ok {
		if len(n.known) >= maxKnown {
			clear(n.known)
			clear(n.names)
		}
		keys := pciKeys(ids)
		for _, key := range keys {
			n.names[key] = ""
		}
		n.err = n.read()
		labels = n.labels(ids, keys)
		n.known[ids] = labels
	}
	return labels
}

// Places in what pciKeys gives.
const (
	pciVendorKey = iota
	pciDeviceKey
	pciSubsystemVendorKey
	pciSubsystemKey
	pciInterfaceKey
	pciSubclassKey
	pciClassKey
)

// pciKeys are the keys of the names that could be a device's.
func pciKeys(ids pciIDs) [7]string {
	class := fmt.Sprintf("%06x", ids[pciClass])
	return [7]string{
		fmt.Sprintf("v%04x", ids[pciVendor]),
		fmt.Sprintf("d%04x%04x", ids[pciVendor], ids[pciDevice]),
		fmt.Sprintf("v%04x", ids[pciSubsystemVendor]),
		fmt.Sprintf("s%04x%04x%04x%04x", ids[pciVendor], ids[pciDevice], ids[pciSubsystemVendor], ids[pciSubsystemDevice]),
		"c" + class, "c" + class[:4], "c" + class[:2],
	}
}

func (n *pciNames) labels(ids pciIDs, keys [7]string) []string {
	or := func(name, other string) string {
		if name == "" {
			return other
		}
		return name
	}
	number := func(place int) string { return fmt.Sprintf("%04x", ids[place]) }
	class := or(n.names[keys[pciInterfaceKey]], or(n.names[keys[pciSubclassKey]], n.names[keys[pciClassKey]]))
	return []string{
		or(n.names[keys[pciVendorKey]], number(pciVendor)),
		or(n.names[keys[pciDeviceKey]], number(pciDevice)),
		or(n.names[keys[pciSubsystemVendorKey]], number(pciSubsystemVendor)),
		or(n.names[keys[pciSubsystemKey]], number(pciSubsystemDevice)),
		or(class, "Unknown class ("+keys[pciInterfaceKey][1:]+")"),
	}
}

// read fills in the names. Its buffer, of more than a megabyte, is not kept.
func (n *pciNames) read() error {
	var r reader
	for _, path := range n.paths {
		data, err := r.read(path)
		if err == nil {
			return parsePCIIDs(path, data, n.names)
		}
		if n.given || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// parsePCIIDs sets the names of those keys that are in the map. The format is a
// line for each, a number and two spaces before the name. Devices stand
// indented below their vendor, subsystems below their device, and in the same
// way classes, which begin with C, their subclasses and interfaces.
func parsePCIIDs(path string, data []byte, names map[string]string) error {
	l := newOpenLines(path, data)
	var parents [3]string // the digits above a line, by how far it is indented
	kinds := "vds"
	for l.next() {
		line := bytes.TrimRight(l.line, " \t\r")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		text := bytes.TrimLeft(line, "\t")
		depth := len(line) - len(text)
		number, name, ok := bytes.Cut(text, []byte("  "))
		if depth >= len(parents) || !ok {
			continue // of a later format
		}
		if depth == 0 {
			kinds = "vds"
			switch rest, isClass := bytes.CutPrefix(number, []byte("C ")); {
			case isClass:
				kinds, number = "ccc", rest
			case bytes.IndexByte(number, ' ') >= 0:
				kinds = "" // another list of the file
			}
		}
		if kinds == "" {
			continue
		}
		digits := strings.ToLower(strings.ReplaceAll(string(number), " ", ""))
		if depth > 0 {
			digits = parents[depth-1] + digits
		}
		parents[depth] = digits
		key := kinds[depth:depth+1] + digits
		if _, wanted := names[key]; wanted {
			names[key] = strings.TrimSpace(string(name))
		}
	}
	return l.end()
}
