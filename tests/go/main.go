// Command peer is a TLS peer, a verifier and a caller of the certificate service that has nothing
// but Go's standard library.
//
//	peer verify  -folder F -id ID [-at TIME]
//	peer serve   -folder F -id ID [-version 1.2|1.3]
//	peer dial    -folder F -id ID -address HOST:PORT [-version 1.2|1.3] [-times N]
//	peer request -folder F -address HOST:PORT [-token FILE] [-version 1.2|1.3] [-times N]
//
// F holds leaf.pem, chain.pem, key.pem and roots.pem; ID is the SPIFFE ID that the certificate in F
// (verify) or the other side has to have. What was found is printed as one JSON line each.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The longest that one connection may take.
const patience = 30 * time.Second

type settings struct {
	folder, id, address, token, at string
	version                        uint16
	times                          int
	anonymous                      bool
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: peer verify|serve|dial|request -folder F ..."))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var s settings
	flags.StringVar(&s.folder, "folder", "", "leaf.pem, chain.pem, key.pem, roots.pem")
	flags.StringVar(&s.id, "id", "", "the SPIFFE ID to expect")
	flags.StringVar(&s.address, "address", "", "HOST:PORT to connect to")
	flags.StringVar(&s.token, "token", "", "file of a token, instead of the certificate in F")
	flags.StringVar(&s.at, "at", "", "the time to verify at (RFC 3339), instead of now")
	flags.IntVar(&s.times, "times", 1, "connections to make, one after another")
	version := flags.String("version", "", "the only TLS version")
	_ = flags.Parse(os.Args[2:])
	s.version = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[*version]
	s.anonymous = s.token != ""

	var err error
	switch os.Args[1] {
	case "verify":
		err = verify(s)
	case "serve":
		err = serve(s)
	case "dial":
		err = dial(s)
	case "request":
		err = request(s)
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func (s settings) file(name string) string { return filepath.Join(s.folder, name) }

func say(found map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
