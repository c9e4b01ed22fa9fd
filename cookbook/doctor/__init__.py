"""What the FAQ and our traps warn of, found in the source of a project.

It reads syntax trees and runs nothing. Only `ast` of the standard library is
needed: it reads 100,000 lines in seconds, where the trees that keep each comma
take minutes, and a rule here asks for calls and names, not for types.

A rule knows one file at a time. What a name means comes from the imports of
that file, and what an object is from the places of that file that bind it.
Where this leaves a doubt, a rule says nothing.
"""
