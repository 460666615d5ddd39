// Package docs checks what the documentation says about the code. It also gives the commands in the documents to the
// tests of the programs, which check them against their own command trees.
//
// A command is a line of a fenced or indented block, or a span of inline code that begins with the name of a program.
// The language of a block decides: console and sh have commands, json and yaml are read as the types that they show,
// and text is output or a drawing. A block without a language has commands.
package docs
