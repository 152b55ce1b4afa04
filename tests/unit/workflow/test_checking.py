"""Malformed workflows: each is refused with the path and the reason, and all faults are said at once."""

import copy
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.workflow import files
from blockyard.workflow.checking import KINDS, check_document, check_spec
from blockyard.workflow.reading import Fault
from blockyard.workflow.schema import json_schema
from blockyard.workflow.spec import Rule, Workflow

BASE: dict[str, Any] = {
    "apiVersion": "blockyard.dev/v1alpha1",
    "kind": "WorkflowRun",
    "metadata": {"name": "base"},
    "spec": {
        "pool": "default",
        "parameters": [
            {"name": "n", "type": "integer", "default": 3},
            {"name": "mode", "type": "string", "choices": ["fast", "slow"], "default": "fast"},
            {"name": "files", "type": "list", "default": ["a"]},
        ],
        "steps": [
            {"name": "load", "function": "pack.mod:load", "arguments": {"n": "${{ params.n }}"}, "outputs": ["count"]},
            {
                "name": "fit",
                "source": "def main(x, a, b):\n    return x\n",
                "arguments": {"x": "${{ steps.load.result }}", "a": "${{ item.a }}", "b": "${{ item.b }}"},
                "sweep": {"product": {"a": [1, 2], "b": [3, 4]}},
                "when": "steps.load.outputs.count > params.n",
                "retry": {"limit": 2, "backoff": "1s", "causes": ["ValueError"]},
                "resources": {"cpu": "500m", "memory": "1Gi"},
            },
            {"name": "say", "binary": ["echo", "${{ steps.load.outputs.count }}"], "timeout": "90s"},
            {"name": "done", "function": "pack.mod:done", "needs": ["fit", "say"], "trigger": "AnySuccess"},
        ],
        "onExit": {"name": "clean", "binary": ["true"]},
    },
}

GONE = object()
"""The field is left out."""

LOAD, FIT, SAY, DONE = (f"spec.steps[{place}]" for place in range(4))

# Where to change the base, to what; of which path a fault must then be, and what its reason says.
MUTANTS: list[tuple[str, Any, str, str]] = [
    # --- the object
    ("apiVersion", "v1", "apiVersion", "blockyard.dev/v1alpha1"),
    ("apiVersion", GONE, "apiVersion", "is required"),
    ("kind", "WorkflowRum", "kind", "did you mean 'WorkflowRun'"),
    ("kind", GONE, "kind", "is required"),
    ("metadata", GONE, "metadata.name", "is required"),
    ("metadata.name", GONE, "metadata.name", "is required"),
    ("metadata.name", "Base", "metadata.name", "lower-case"),
    ("metadata.name", "a" * 51, "metadata.name", "50"),
    ("metadata.name", 5, "metadata.name", "5"),
    ("metadata.name", "a_b", "metadata.name", "lower-case"),
    ("metadata.name", "../x", "metadata.name", "lower-case"),
    ("spec", GONE, "spec", "is required"),
    ("spec", [], "spec", "expected an object"),
    ("spec", "x", "spec", "expected an object"),
    ("spce", {}, "spce", "did you mean 'spec'"),
    # --- the spec
    ("spec.pool", 5, "spec.pool", "Expected `str`"),
    ("spec.pool", None, "spec.pool", "Expected `str`"),
    ("spec.pool", "a" * 254, "spec.pool", "253"),
    ("spec.stpes", [], "spec.stpes", "did you mean 'steps'"),
    ("spec.paramters", [], "spec.paramters", "did you mean 'parameters'"),
    ("spec.onexit", {}, "spec.onexit", "did you mean 'onExit'"),
    ("spec.active_deadline_seconds", 5, "spec.active_deadline_seconds", "activeDeadlineSeconds"),
    ("spec.activeDeadlineSeconds", 0, "spec.activeDeadlineSeconds", ">= 1"),
    ("spec.activeDeadlineSeconds", "5", "spec.activeDeadlineSeconds", "int"),
    ("spec.activeDeadlineSeconds", 1.5, "spec.activeDeadlineSeconds", "int"),
    ("spec.ttlSecondsAfterFinished", -1, "spec.ttlSecondsAfterFinished", ">= 0"),
    ("spec.suspend", "yes", "spec.suspend", "bool"),
    ("spec.suspend", 1, "spec.suspend", "bool"),
    ("spec.cancel", "no", "spec.cancel", "bool"),
    ("spec.steps", [], "spec.steps", "is empty"),
    ("spec.steps", GONE, "spec.steps", "is empty"),
    ("spec.steps", {}, "spec.steps", "array"),
    ("spec.steps", ["load"], "spec.steps[0]", "expected an object"),
    ("spec.steps", [None], "spec.steps[0]", "found nothing"),
    ("spec.templateRef", {"name": "t"}, "spec.steps", "comes from the template"),
    ("spec.templateRef", {"name": ""}, "spec.templateRef.name", ">= 1"),
    ("spec.templateRef", {"nam": "t"}, "spec.templateRef.nam", "did you mean 'name'"),
    ("spec.templateRef", "t", "spec.templateRef", "expected an object"),
    # --- code
    ("spec.code", [{"fiel": "s3://b/x.whl"}], "spec.code[0].fiel", "did you mean 'file'"),
    ("spec.code", [{"file": "x-1-py3-none-any.whl"}], "spec.code[0].file", "is no address"),
    ("spec.code", [{"file": "s3://b/x.tar.gz"}], "spec.code[0].file", "is no wheel"),
    ("spec.code", [{"file": "s3://b/x-1-cp312-cp312-linux_x86_64.whl"}], "spec.code[0].file", "compiled code"),
    ("spec.code", [{"file": "s4://b/x-1-py3-none-any.whl"}], "spec.code[0].file", "no stager for s4://"),
    ("spec.code", [{"file": "s3://b/x.zip", "sha256": "a"}], "spec.code[0].sha256", "regex"),
    # --- parameters
    ("spec.parameters", {"n": 3}, "spec.parameters", "array"),
    ("spec.parameters.0.name", GONE, "spec.parameters[0].name", "is required"),
    ("spec.parameters.0.name", "", "spec.parameters[0].name", "regex"),
    ("spec.parameters.0.name", "9n", "spec.parameters[0].name", "regex"),
    ("spec.parameters.0.name", "mode", "spec.parameters", "'mode' stands there 2 times"),
    ("spec.parameters.0.type", "int", "spec.parameters[0].type", "did you mean"),
    ("spec.parameters.0.type", 3, "spec.parameters[0].type", "none of them"),
    ("spec.parameters.0.typ", "integer", "spec.parameters[0].typ", "did you mean 'type'"),
    ("spec.parameters.0.default", "3", "spec.parameters[0].default", "is no integer"),
    ("spec.parameters.0.default", 3.5, "spec.parameters[0].default", "is no integer"),
    ("spec.parameters.0.default", True, "spec.parameters[0].default", "is no integer"),
    ("spec.parameters.0.default", GONE, "spec.arguments.n", "no default"),
    ("spec.parameters.1.default", "medium", "spec.parameters[1].default", "is none of 'fast', 'slow'"),
    ("spec.parameters.1.choices", [1], "spec.parameters[1].choices[0]", "is no string"),
    ("spec.parameters.1.choices", "fast", "spec.parameters[1].choices", "array"),
    ("spec.parameters.2.default", {}, "spec.parameters[2].default", "is no list"),
    ("spec.parameters.2.type", "number", "spec.parameters[2].default", "is no number"),
    ("spec.parameters.2.type", "boolean", "spec.parameters[2].default", "is no boolean"),
    ("spec.parameters.2.type", "object", "spec.parameters[2].default", "is no object"),
    ("spec.parameters.2.description", 5, "spec.parameters[2].description", "str"),
    ("spec.arguments", {"m": 1}, "spec.arguments.m", "there are: files, mode, n"),
    ("spec.arguments", {"n": "1"}, "spec.arguments.n", "is no integer"),
    ("spec.arguments", {"mode": "quick"}, "spec.arguments.mode", "is none of"),
    ("spec.arguments", ["n"], "spec.arguments", "object"),
    # --- names and kinds of steps
    ("spec.steps.0.name", GONE, f"{LOAD}.name", "is required"),
    ("spec.steps.0.name", "a b", f"{LOAD}.name", "regex"),
    ("spec.steps.0.name", "a.b", f"{LOAD}.name", "regex"),
    ("spec.steps.0.name", "-a", f"{LOAD}.name", "regex"),
    ("spec.steps.0.name", "ä", f"{LOAD}.name", "regex"),
    ("spec.steps.0.name", "a" * 64, f"{LOAD}.name", "63"),
    ("spec.steps.0.name", 7, f"{LOAD}.name", "str"),
    ("spec.steps.0.name", "say", "spec.steps", "'say' is the name of 2 steps"),
    ("spec.onExit.name", "say", "spec.steps", "'say' is the name of 2 steps"),
    ("spec.steps.0.name", "laod", f"{FIT}.arguments.x", "did you mean 'laod'"),
    ("spec.steps.0.function", GONE, LOAD, "none of them"),
    ("spec.steps.0.function", "", f"{LOAD}.function", "no import path"),
    ("spec.steps.0.function", "load", f"{LOAD}.function", "no import path"),
    ("spec.steps.0.function", "pack.mod.load", f"{LOAD}.function", "write package.module:name"),
    ("spec.steps.0.function", "pack mod:load", f"{LOAD}.function", "no import path"),
    ("spec.steps.0.function", "pack.mod:load()", f"{LOAD}.function", "no import path"),
    ("spec.steps.0.function", ":load", f"{LOAD}.function", "no import path"),
    ("spec.steps.0.function", ["pack.mod:load"], f"{LOAD}.function", "str"),
    ("spec.steps.0.funtion", "a:b", f"{LOAD}.funtion", "did you mean 'function'"),
    ("spec.steps.0.binary", ["ls"], LOAD, "has function and binary"),
    ("spec.steps.0.task", "x", LOAD, "has function and task"),
    ("spec.steps.0.source", "def main(): pass", LOAD, "has function and source"),
    ("spec.steps.0.mpi", {"command": ["a"], "ranks": 2}, LOAD, "has function and mpi"),
    ("spec.steps.1.source", "def mian(): pass", f"{FIT}.source", "did you mean 'mian'"),
    ("spec.steps.1.source", "main = 3", f"{FIT}.source", "defines no function main"),
    ("spec.steps.1.source", "def main(:", f"{FIT}.source", "is no Python"),
    ("spec.steps.1.source", "", f"{FIT}.source", "defines no function main"),
    ("spec.steps.1.source", "def main(): pass\x00", f"{FIT}.source", "is no Python"),
    ("spec.steps.1.source", "(" * 5000, f"{FIT}.source", "is no Python"),
    ("spec.steps.1.source", 5, f"{FIT}.source", "str"),
    ("spec.steps.1.source", {}, f"{FIT}.source", "has neither; say exactly one of inline, configMap"),
    ("spec.steps.1.source", {"inline": "main = 3"}, f"{FIT}.source.inline", "defines no function main"),
    ("spec.steps.1.source", {"inlin": "def main(): pass"}, f"{FIT}.source.inlin", "did you mean 'inline'"),
    ("spec.steps.1.source", {"configMap": {"name": "c"}}, f"{FIT}.source.configMap.key", "is required"),
    ("spec.steps.1.source", {"configMap": {"name": "../c", "key": "k"}}, f"{FIT}.source.configMap.name", "regex"),
    ("spec.steps.1.source", {"configMap": {"name": "c", "key": "a/b"}}, f"{FIT}.source.configMap.key", "regex"),
    ("spec.steps.1.source", {"inline": "def main(): pass", "configMap": {"name": "c", "key": "k"}}, f"{FIT}.source",
     "has both"),
    ("spec.steps.2.binary", [], f"{SAY}.binary", "at least 1"),
    ("spec.steps.2.binary", "echo hi", f"{SAY}.binary", "array"),
    ("spec.steps.2.binary", ["  "], f"{SAY}.binary[0]", "names no program"),
    ("spec.steps.2.binary", ["echo", 5], f"{SAY}.binary[1]", "str"),
    ("spec.steps.2.binary", ["x"] * 257, f"{SAY}.binary", "at most 256"),
    ("spec.steps.2.arguments", {"a": 1}, f"{SAY}.arguments.a", "stands in no word of its command"),
    ("spec.steps.2.binary", ["cat", "${{ arguments.a }}"], f"{SAY}.binary[1]", "there is no argument 'a'"),
    ("spec.steps.2.binary", ["cat", "${{ arguments }}"], f"{SAY}.binary[1]", "names no argument"),
    ("spec.steps.0.arguments.n", "${{ arguments.n }}", f"{LOAD}.arguments.n", "only in the command and environment"),
    # --- files
    ("spec.steps.0.arguments.n", {"file": "htps://a/b"}, f"{LOAD}.arguments.n.file", "did you mean 'https'"),
    ("spec.steps.0.arguments.n", {"file": "attic://a/b"}, f"{LOAD}.arguments.n.file", "there are: file, ftp, http"),
    ("spec.steps.0.arguments.n", {"output": "s3:///b"}, f"{LOAD}.arguments.n.output", "no host, bucket or claim"),
    ("spec.steps.0.arguments.n", {"file": "a b://c/d"}, f"{LOAD}.arguments.n.file", "is no scheme"),
    ("spec.steps.0.arguments.n", [{"file": "s3://b/${{ params.n }}/"}], f"{LOAD}.arguments.n[0].file", "names no file"),
    ("spec.steps.0.arguments.n", {"x": {"output": "https://a/b"}}, f"{LOAD}.arguments.n.x.output", "can be read only"),
    ("spec.steps.1.arguments.b", {"file": "file://h/${{ item.a }}"}, f"{FIT}.arguments.b.file", "begins with file:///"),
    ("spec.steps.0.arguments.n", {"file": "s3://b/c", "sha256": "a"}, f"{LOAD}.arguments.n.sha256", "64 hexadecimal"),
    ("spec.steps.3.task", "t", f"{DONE}", "function and task"),
    ("spec.steps.0.environment", {"A": "1"}, f"{LOAD}.environment", "is for programs"),
    ("spec.steps.2.environment", {"A": 1}, f"{SAY}.environment.A", "str"),
    ("spec.steps.2.environment", ["A=1"], f"{SAY}.environment", "object"),
    ("spec.steps.0.arguments", {"a-b": 1}, f"{LOAD}.arguments.a-b", "is no name"),
    ("spec.steps.0.arguments", {"1a": 1}, f"{LOAD}.arguments.1a", "is no name"),
    ("spec.steps.0.arguments", [1], f"{LOAD}.arguments", "object"),
    ("spec.steps.0.arguments", {1: 1}, f"{LOAD}.arguments.1", "put it in quotes"),
    # --- needs and triggers
    ("spec.steps.3.needs", ["fti"], f"{DONE}.needs[0]", "did you mean 'fit'"),
    ("spec.steps.3.needs", ["fit", "nothing"], f"{DONE}.needs[1]", "there is no step 'nothing'"),
    ("spec.steps.3.needs", ["done"], f"{DONE}.needs[0]", "cannot wait for itself"),
    ("spec.steps.3.needs", ["fit", "fit"], f"{DONE}.needs[1]", "stands there before"),
    ("spec.steps.3.needs", "fit", f"{DONE}.needs", "array"),
    ("spec.steps.3.needs", [3], f"{DONE}.needs[0]", "str"),
    ("spec.steps.3.needs", ["clean"], f"{DONE}.needs[0]", "there is no step 'clean'"),
    ("spec.steps.0.needs", ["done"], "spec.steps", "load → done"),
    ("spec.steps.0.needs", ["say"], "spec.steps", "load → say → load"),
    ("spec.steps.0.needs", ["fit"], "spec.steps", "wait for one another"),
    ("spec.steps.3.trigger", "AnySucess", f"{DONE}.trigger", "did you mean 'AnySuccess'"),
    ("spec.steps.3.trigger", "any", f"{DONE}.trigger", "there are"),
    ("spec.steps.3.trigger", None, f"{DONE}.trigger", "none of them"),
    *(("spec.steps.0.trigger", one, f"{LOAD}.trigger", "nothing to wait for")
      for one in Rule if one is not Rule.ALL_SUCCESS),
    ("spec.steps.2.trigger", "AllFailed", f"{SAY}.trigger", "never runs with the result of 'load'"),
    ("spec.steps.2.trigger", "AllSkipped", f"{SAY}.trigger", "never runs with the result of 'load'"),
    ("spec.onExit.needs", ["load"], "spec.onExit.needs", "waits for all other steps"),
    ("spec.onExit.trigger", "Always", "spec.onExit.trigger", "always runs"),
    ("spec.onExit.sweep", {"range": 2}, "spec.onExit.sweep", "runs once"),
    ("spec.onExit", [], "spec.onExit", "expected an object"),
    ("spec.onExit.binary", GONE, "spec.onExit", "none of them"),
    # --- references
    ("spec.steps.0.arguments.n", "${{ params.m }}", f"{LOAD}.arguments.n", "there is no parameter 'm'"),
    ("spec.steps.0.arguments.n", "${{ param.n }}", f"{LOAD}.arguments.n", "none of params, steps, item"),
    ("spec.steps.0.arguments.n", "${{ params }}", f"{LOAD}.arguments.n", "names no parameter"),
    ("spec.steps.0.arguments.n", "${{ }}", f"{LOAD}.arguments.n", "none of params, steps, item"),
    ("spec.steps.0.arguments.n", "${{ params.n + 1 }}", f"{LOAD}.arguments.n", "no path of names"),
    ("spec.steps.0.arguments.n", "${{ params.n", f"{LOAD}.arguments.n", "has no }}"),
    ("spec.steps.0.arguments.n", "a ${{ params.n }} ${{", f"{LOAD}.arguments.n", "has no }}"),
    ("spec.steps.0.arguments.n", ["x", {"y": "${{ params.q }}"}], f"{LOAD}.arguments.n[1].y", "no parameter 'q'"),
    ("spec.steps.0.arguments.n", "${{ item }}", f"{LOAD}.arguments.n", "only in what a sweep runs"),
    ("spec.steps.0.arguments.n", "${{ steps.load.result }}", f"{LOAD}.arguments.n", "its own result"),
    ("spec.steps.0.arguments.n", "${{ steps.lod.result }}", f"{LOAD}.arguments.n", "did you mean 'load'"),
    ("spec.steps.0.arguments.n", "${{ steps.say }}", f"{LOAD}.arguments.n", "steps.NAME.result"),
    ("spec.steps.0.arguments.n", "${{ steps.say.state }}", f"{LOAD}.arguments.n", "steps.NAME.result"),
    ("spec.steps.0.arguments.n", "${{ steps.say.outputs }}", f"{LOAD}.arguments.n", "names no output"),
    ("spec.steps.0.arguments.n", "${{ steps.clean.result }}", f"{LOAD}.arguments.n", "there is no step 'clean'"),
    ("spec.steps.2.binary", ["echo", "${{ steps.load.outputs.cuont }}"], f"{SAY}.binary[1]", "did you mean 'count'"),
    ("spec.steps.2.binary", ["echo", "${{ steps.fit.outputs.n }}"], f"{SAY}.binary[1]", "declares no output 'n'"),
    ("spec.steps.2.environment", {"A": "${{ params.z }}"}, f"{SAY}.environment.A", "no parameter 'z'"),
    ("spec.steps.1.arguments.a", "${{ item.aa }}", f"{FIT}.arguments.a", "items have no 'aa'"),
    ("spec.steps.1.arguments.a", "${{ item.c }}", f"{FIT}.arguments.a", "items have no 'c'"),
    # --- sweeps
    ("spec.steps.1.sweep", {}, f"{FIT}.sweep", "none of them"),
    ("spec.steps.1.sweep", {"range": 2, "list": [1]}, f"{FIT}.sweep", "has list and range"),
    ("spec.steps.1.sweep", {"rage": 2}, f"{FIT}.sweep.rage", "did you mean 'range'"),
    ("spec.steps.1.sweep", {"range": 0}, f"{FIT}.sweep.range", ">= 1"),
    ("spec.steps.1.sweep", {"range": 10**7}, f"{FIT}.sweep.range", "<= 1000000"),
    ("spec.steps.1.sweep", {"range": "5"}, f"{FIT}.sweep.range", "int"),
    ("spec.steps.1.sweep", {"range": 5}, f"{FIT}.arguments.a", "are numbers"),
    ("spec.steps.1.sweep", {"list": []}, f"{FIT}.sweep.list", "at least 1"),
    ("spec.steps.1.sweep", {"list": 5}, f"{FIT}.sweep.list", "array"),
    ("spec.steps.1.sweep", {"list": ["${{ item }}"]}, f"{FIT}.sweep.list[0]", "only in what a sweep runs"),
    ("spec.steps.1.sweep", {"list": ["${{ params.no }}"]}, f"{FIT}.sweep.list[0]", "no parameter 'no'"),
    ("spec.steps.1.sweep", {"product": {}}, f"{FIT}.sweep.product", "is empty"),
    ("spec.steps.1.sweep", {"product": {"a": 1, "b": [1]}}, f"{FIT}.sweep.product.a", "is no list"),
    ("spec.steps.1.sweep", {"product": {"a": [], "b": [1]}}, f"{FIT}.sweep.product.a", "is no list of values"),
    ("spec.steps.1.sweep", {"product": [1]}, f"{FIT}.sweep.product", "object"),
    ("spec.steps.1.sweep", {"product": {k: list(range(101)) for k in "abc"}}, f"{FIT}.sweep.product", "1030301"),
    ("spec.steps.1.sweep", {"zip": {"a": [1], "b": [1, 2]}}, f"{FIT}.sweep.zip", "different lengths"),
    ("spec.steps.1.sweep", {"zip": {}}, f"{FIT}.sweep.zip", "is empty"),
    ("spec.steps.1.sweep", {"zip": {"a": "x", "b": [1]}}, f"{FIT}.sweep.zip.a", "is no list"),
    ("spec.steps.1.sweep", {"from": "files"}, f"{FIT}.sweep.from", "is no reference"),
    ("spec.steps.1.sweep", {"from": "x ${{ params.files }}"}, f"{FIT}.sweep.from", "is no reference"),
    ("spec.steps.1.sweep", {"from": "${{ params.fils }}"}, f"{FIT}.sweep.from", "did you mean 'files'"),
    ("spec.steps.1.sweep", {"from": "${{ steps.laod.result }}"}, f"{FIT}.sweep.from", "did you mean 'load'"),
    ("spec.steps.1.sweep", {"from": ["a"]}, f"{FIT}.sweep.from", "str"),
    ("spec.steps.1.sweep", 5, f"{FIT}.sweep", "expected an object"),
    ("spec.steps.1.outputs", ["x"], f"{FIT}.outputs", "a sweep has many results"),
    ("spec.steps.0.outputs", ["a b"], f"{LOAD}.outputs[0]", "regex"),
    ("spec.steps.0.outputs", "count", f"{LOAD}.outputs", "array"),
    # --- conditions
    ("spec.steps.1.when", "steps.load.", f"{FIT}.when", "cannot be read"),
    ("spec.steps.1.when", "1 +", f"{FIT}.when", "cannot be read"),
    ("spec.steps.1.when", "   ", f"{FIT}.when", "is empty"),
    ("spec.steps.1.when", 5, f"{FIT}.when", "str"),
    ("spec.steps.1.when", "param.n > 1", f"{FIT}.when", "no variable 'param'"),
    ("spec.steps.1.when", "now() > 1", f"{FIT}.when", "no function 'now'"),
    ("spec.steps.1.when", "params.m > 1", f"{FIT}.when", "there is no parameter 'm'"),
    ("spec.steps.1.when", "params['m'] > 1", f"{FIT}.when", "there is no parameter 'm'"),
    ("spec.steps.1.when", "steps.laod.state == 'Failed'", f"{FIT}.when", "did you mean 'load'"),
    ("spec.steps.1.when", "steps['laod'].state == 'Failed'", f"{FIT}.when", "did you mean 'load'"),
    ("spec.steps.1.when", "steps.fit.state == 'Failed'", f"{FIT}.when", "its own end"),
    ("spec.steps.1.when", "steps.load.outputs.cuont > 1", f"{FIT}.when", "did you mean 'count'"),
    ("spec.steps.1.when", "params.files.exists(f, f == 'a')", f"{FIT}.when", "walks through lists"),
    ("spec.steps.1.when", "params.files.map(f, f).size() > 1", f"{FIT}.when", "walks through lists"),
    ("spec.steps.1.when", "params.files . all (f, true)", f"{FIT}.when", "walks through lists"),
    ("spec.steps.1.when", "(" * 20 + "true" + ")" * 20, f"{FIT}.when", "nested 20 deep"),
    ("spec.steps.1.when", "true &&\n true", f"{FIT}.when", "one line"),
    ("spec.steps.1.when", "true || " * 128 + "true", f"{FIT}.when", "1024"),
    ("spec.steps.1.when", "steps.done.state == 'Failed'", "spec.steps", "fit → done → fit"),
    # --- amounts
    ("spec.steps.1.retry", 3, f"{FIT}.retry", "expected an object"),
    ("spec.steps.1.retry.limit", -1, f"{FIT}.retry.limit", ">= 0"),
    ("spec.steps.1.retry.limit", "2", f"{FIT}.retry.limit", "int"),
    ("spec.steps.1.retry.limit", 1001, f"{FIT}.retry.limit", "<= 1000"),
    ("spec.steps.1.retry.backoff", "1 s", f"{FIT}.retry.backoff", "regex"),
    ("spec.steps.1.retry.backoff", 5, f"{FIT}.retry.backoff", "str"),
    ("spec.steps.1.retry.causes", "ValueError", f"{FIT}.retry.causes", "array"),
    ("spec.steps.1.retry.on", ["ValueError"], f"{FIT}.retry.on", "unknown field"),
    ("spec.steps.1.retry.times", 3, f"{FIT}.retry.times", "unknown field"),
    ("spec.steps.2.timeout", "soon", f"{SAY}.timeout", "regex"),
    ("spec.steps.2.timeout", 90, f"{SAY}.timeout", "str"),
    ("spec.steps.2.timeout", "-5s", f"{SAY}.timeout", "regex"),
    ("spec.steps.2.priority", "high", f"{SAY}.priority", "int"),
    ("spec.steps.2.priority", 1001, f"{SAY}.priority", "<= 1000"),
    ("spec.steps.2.idempotent", "yes", f"{SAY}.idempotent", "bool"),
    ("spec.steps.2.cache", "yes", f"{SAY}.cache", "bool"),
    ("spec.steps.2.cache", True, f"{SAY}.cache", "the result of 'load'"),
    ("spec.steps.3", {"name": "done", "function": "a:b", "cache": True, "arguments": {"x": [{"output": "s3://a/b"}]}},
     f"{DONE}.cache", "writes no file"),
    ("spec.steps.2.cacheVersion", "2", f"{SAY}.cacheVersion", "say cache: true"),
    ("spec.onExit.cache", True, "spec.onExit.cache", "always runs"),
    ("spec.steps.2.pool", 1, f"{SAY}.pool", "str"),
    ("spec.steps.1.resources", [], f"{FIT}.resources", "expected an object"),
    ("spec.steps.1.resources.cpu", "much", f"{FIT}.resources.cpu", "is no quantity"),
    ("spec.steps.1.resources.cpu", 0, f"{FIT}.resources.cpu", "not more than nothing"),
    ("spec.steps.1.resources.cpu", [1], f"{FIT}.resources.cpu", "Expected"),
    ("spec.steps.1.resources.memory", "1GB", f"{FIT}.resources.memory", "is no quantity"),
    ("spec.steps.1.resources.memory", -1, f"{FIT}.resources.memory", "not more than nothing"),
    ("spec.steps.1.resources.accelerators", -1, f"{FIT}.resources.accelerators", ">= 0"),
    ("spec.steps.1.resources.gpus", 1, f"{FIT}.resources.gpus", "unknown field"),
    ("spec.steps.2", {"name": "say", "mpi": {"ranks": 2}}, f"{SAY}.mpi.command", "is required"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": ["a"]}}, f"{SAY}.mpi.ranks", "is required"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": [], "ranks": 1}}, f"{SAY}.mpi.command", "at least 1"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": ["a"], "ranks": 0}}, f"{SAY}.mpi.ranks", ">= 1"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": ["a"], "ranks": 9, "nodes": 2, "ranksPerNode": 4}},
     f"{SAY}.mpi.ranks", "ranksPerNode is 8"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": ["a"], "ranks": 2, "nodes": 3}}, f"{SAY}.mpi.nodes", "is 3"),
    ("spec.steps.2", {"name": "say", "mpi": {"command": ["a"], "ranks": 2, "nodes": 2},
                      "arguments": {"x": {"file": "s3://b/c"}}}, f"{SAY}.arguments.x.file", "staged on one node"),
]  # fmt: skip


def mutant(where: str, value: Any) -> Any:
    """The base with one place changed."""
    changed = copy.deepcopy(BASE)
    *way, last = [int(part) if part.isdecimal() else part for part in where.split(".")]
    place: Any = changed
    for part in way:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return changed


def test_the_base_is_in_order() -> None:
    document, faults = check_document(copy.deepcopy(BASE))
    assert faults == []
    assert document is not None
    assert len(document.spec.steps) == 4


def test_what_stands_in_a_text_of_a_condition_is_no_name() -> None:
    assert check_document(mutant("spec.steps.1.when", "params.mode != 'params.m steps.laod.outputs.x'"))[1] == []


def test_there_are_enough_mutants_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) >= 200
    assert len({(where, repr(value)) for where, value, _, _ in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("where, value, path, reason", MUTANTS, ids=[f"{n}-{m[0]}" for n, m in enumerate(MUTANTS)])
def test_a_mutant_is_refused_with_path_and_reason(where: str, value: Any, path: str, reason: str) -> None:
    document, faults = check_document(mutant(where, value))
    assert document is None
    assert any(fault.path == path and reason in fault.reason for fault in faults), faults


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert check_document(document)[1]


def test_all_faults_are_said_at_once() -> None:
    changed = copy.deepcopy(BASE)
    changed["kind"] = "Job"
    changed["spec"]["steps"][0]["function"] = 5
    changed["spec"]["steps"][1]["retry"]["limit"] = "x"
    changed["spec"]["steps"][2]["nmae"] = "x"
    _, faults = check_document(changed)
    assert [fault.path for fault in faults] == [
        "kind",
        "spec.steps[0].function",
        "spec.steps[1].retry.limit",
        "spec.steps[2].nmae",
    ]


def test_a_template_needs_no_arguments_and_a_run_takes_its_steps(tmp_path: Path) -> None:
    template = {**copy.deepcopy(BASE), "kind": "WorkflowTemplate", "metadata": {"name": "t"}}
    del template["spec"]["parameters"][0]["default"]
    run = {**BASE, "spec": {"templateRef": {"name": "t"}, "arguments": {"n": 7}}}
    path = tmp_path / "both.json"

    def faults(*objects: object) -> list[Fault]:
        found = []
        for one in objects:
            path.write_bytes(msgspec.json.encode(one))
            found += files.check(path)[1]
        return found

    assert faults(template) == []
    assert "there is no template 't'" in faults(run)[0].reason
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump_all([template, run]))
    document = files.read_run(path)
    assert (document.spec.arguments, len(document.spec.steps)) == ({"n": 7}, 4)
    path.write_text(yaml.safe_dump_all([template, {**run, "spec": {"templateRef": {"name": "t"}}}]))
    with pytest.raises(files.Invalid, match=r"spec\.arguments\.n: is required"):
        files.read_run(path)


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("a.yaml", "a: [", "is no YAML"),
        ("a.yaml", "a: &x [*x]\nb: !!python/object:os.system ls", "is no YAML"),
        ("a.json", "{", "is no JSON"),
        ("a.yaml", "\x00", "is no YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason):
        files.check(tmp_path / name)


def test_thousands_of_steps_are_checked_in_one_go() -> None:
    steps = [{"name": f"s{n}", "function": "a.b:c", "needs": [f"s{n - 1}"] if n else []} for n in range(5000)]
    spec, faults = check_spec({"steps": steps})
    assert (faults, spec is not None) == ([], True)
    steps[0]["needs"] = ["s4999"]
    assert "wait for one another" in check_spec({"steps": steps})[1][0].reason


def test_the_schema_has_each_field_of_a_workflow() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Workflow"]["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(Workflow)
    }
    assert [one["required"] for one in schema["$defs"]["Step"]["oneOf"]] == [[kind] for kind in KINDS]
    assert schema["$defs"]["Workflow"]["anyOf"][1]["properties"]["steps"] == {"minItems": 1}
    assert re.fullmatch(schema["properties"]["metadata"]["properties"]["name"]["pattern"], "grid-2")
    assert set(schema["$defs"]["Sweep"]["properties"]) == {"list", "product", "zip", "range", "from"}
