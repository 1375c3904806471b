"""Songs and estimates in, museval's scores of each, tables and a picture out."""
