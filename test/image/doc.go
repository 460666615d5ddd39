// Package image builds the project's container image without Docker, from the Dockerfile. It runs the build stage's go
// build commands and packs what the final stage copies, with that stage's labels, user and command. So tests run the
// image that users get.
//
// It supports what the project's own Dockerfile uses, and rejects everything else.
package image
