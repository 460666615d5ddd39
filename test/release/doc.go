// Package release makes the files of a release: archives of the programs, the image, a manifest per overlay, the
// manifest of kubectl's plugin index krew, a software bill of materials (SBOM) per program, and the checksums of all of
// them.
//
// The same sources, version and time give the same files, byte for byte, in whatever directory they are made.
package release
