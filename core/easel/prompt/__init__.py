"""The prompt language of AUTOMATIC1111, as plain functions on plain values; no model is needed to read a prompt.

A prompt goes through these, in this order (the docstrings say what each raises):

| module | what it does | start with |
|---|---|---|
| `styles` | CSV styles, merged into prompts and found again | `read_styles`, `finished`, `extract_styles` |
| `syntax` | `# comments` | `remove_comments` |
| | `<lora:name:1>` and other networks | `extract_networks` |
| | `a AND b :0.5` | `split_and` |
| | `(a:1.2)`, `[b]`, BREAK | `parse_attention` |
| `schedule` | `[a:b:0.5]` and `[a|b]` over the steps of a pass | `schedule`, `conditions`, `text_at` |
| `chunks` | 75-token chunks with multipliers and embeddings | `Chunker`, `Embedding`, `EmbeddingIndex` |
| `tokenizer` | CLIP's byte-pair encoding | `ClipTokenizer` |
| `infotext` | the text in a picture about how it was made | `write_infotext`, `parse_infotext` |
| `overrides` | the options that such a text asks for | `option_overrides` |

`editing` and `grammar` are the inside of `schedule`. Importing any of these is cheap: lark and tokenizers are imported
when the first prompt needs them.

    text, tags = extract_networks(remove_comments("a [red:blue:0.5] fox <lora:ink:0.8>"))
    [(stages, weight)] = conditions(text, steps=20)
    chunker = Chunker(ClipTokenizer.from_folder(folder))
    texts = chunker.chunk_all(stage.text for stage in stages)
"""
